"""Build and check ONNX graphs of the students."""
