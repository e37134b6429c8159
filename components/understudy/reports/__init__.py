"""Reports: every page for people, made from a record."""
