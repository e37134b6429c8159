"""Turn a student into ONNX graphs, and refuse when they are not the same classifier."""
