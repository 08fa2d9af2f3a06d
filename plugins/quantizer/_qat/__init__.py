"""ONNX graphs in PyTorch, with gradients: shared by the quantizers that learn."""
