"""ONNX graphs of the students: written by hand for CPUs, quantised, and looked into before they are loaded."""
