"""Put a bundle that passed its evaluation into the registry, and let it serve."""
