"""Text: what counts as the same text, near-duplicates, and how numbers are written."""
