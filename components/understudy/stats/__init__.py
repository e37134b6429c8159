"""Seeded draws: pure functions of what they are given."""
