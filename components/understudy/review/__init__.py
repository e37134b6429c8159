"""Exchange review queues, samples and human labels with people's tools."""
