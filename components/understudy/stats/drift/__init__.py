"""Detect drift: what a night's texts and scores are like, and whether that has changed."""
