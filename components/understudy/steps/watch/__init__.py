"""The step watch: whether the model may go on."""
