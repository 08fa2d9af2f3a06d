"""What the quantizers of ONNX graphs share: reading with shapes, writing, naming, counting."""

from plugins.quantizer.onnx_graph.files import cleaned, inferred, operators, save
from plugins.quantizer.onnx_graph.select import activations, nodes_matching, tensors_matching

__all__ = [
    "activations",
    "cleaned",
    "inferred",
    "nodes_matching",
    "operators",
    "save",
    "tensors_matching",
]
