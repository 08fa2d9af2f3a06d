"""ONNX graphs in PyTorch, with gradients: what quantizers that learn share."""
