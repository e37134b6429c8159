"""A toy step."""
