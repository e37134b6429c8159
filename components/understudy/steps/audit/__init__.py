"""Audit the teacher against human labels, per class and slice, with a verdict in words."""
