"""Fit the calibrator and the threshold of the graph that will serve, and write the bundle."""
