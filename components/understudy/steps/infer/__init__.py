"""The step infer: label one shard of a night."""
