"""Run steps: signatures, provenance, images and retries that all of them share."""
