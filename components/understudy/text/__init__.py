"""Compare texts and write numbers: normalising, near-duplicates, numbers in sentences."""
