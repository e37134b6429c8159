"""Compute statistics: metrics with intervals, seeded draws, drift; pure functions of what they are given."""
