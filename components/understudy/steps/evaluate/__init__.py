"""What a bundle is worth on human labels, beside its teacher, and whether to publish it."""
