"""The step sample: texts of the last nights for people to label, drawn with known weights."""
