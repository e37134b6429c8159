"""Secrets: keys and passwords as they are read, and the streams on which none is shown."""
