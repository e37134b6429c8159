"""Start pipelines and steps, on this machine or on a cluster."""
