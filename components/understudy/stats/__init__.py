"""Statistics: metrics with intervals, seeded draws, and drift; pure functions over tables and arrays."""
