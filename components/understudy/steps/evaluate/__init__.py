"""Evaluate a bundle on human labels, beside its teacher, and decide whether to publish it."""
