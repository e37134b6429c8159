"""The step index: predictions into the searchable index."""
