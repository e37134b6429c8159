"""Define the task: the card, its settings, its patterns and the steps."""
