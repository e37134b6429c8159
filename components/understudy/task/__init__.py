"""Task card: the card, its settings, and the patterns in it."""
