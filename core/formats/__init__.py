"""ONNX and torch.export files: read, written, opened, counted."""
