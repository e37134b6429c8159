"""Publish a bundle that passed its evaluation, and let it serve."""
