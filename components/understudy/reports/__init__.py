"""Render pages for people, each from a record."""
