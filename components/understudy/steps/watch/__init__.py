"""Judge each night whether the model may go on."""
