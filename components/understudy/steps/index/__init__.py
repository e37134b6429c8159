"""Index predictions into the search index."""
