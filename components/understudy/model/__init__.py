"""Run and train students: transformers classifiers, their graphs and their calibration."""
