"""Find the texts that have arrived, pin the bundle, and freeze the night's manifest."""
