"""Wire the pipelines, and compile them."""
