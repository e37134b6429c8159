"""Runners: whatever starts a pipeline or a step, on this machine or on a cluster."""
