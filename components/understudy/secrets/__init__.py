"""Read secrets, and keep them off every stream."""
