"""What a night's texts and scores are like, and whether that has changed: pure functions over tables and arrays."""
