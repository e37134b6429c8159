"""Real servers for tests: each is used from the environment when it is named there, else started here, else skipped."""
