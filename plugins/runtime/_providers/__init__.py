"""ONNX Runtime's execution providers: what brings each of them, and the devices that it finds."""
