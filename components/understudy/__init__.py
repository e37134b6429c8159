"""Understudy learns the part of the LLM that labels your texts, and goes on every night in its place."""

__version__ = "0.1.0"
