"""The steps of the pipelines: one folder each, with config, core, step, component and README."""
