"""Erase a text and all derived from it, and remove what is past its retention."""
