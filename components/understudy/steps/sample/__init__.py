"""Draw texts of the last nights for people to label, with known weights."""
