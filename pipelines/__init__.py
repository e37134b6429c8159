"""Wiring of the pipelines, and the commands that compile them and run them here."""
