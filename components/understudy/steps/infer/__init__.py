"""Label one shard of a night."""
