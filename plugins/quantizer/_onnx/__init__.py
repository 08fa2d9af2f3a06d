"""What the quantizers of ONNX graphs share: reading with shapes, naming, selecting."""

from core.formats.onnx_graph import inferred
from plugins.quantizer._onnx.graph.files import cleaned
from plugins.quantizer._onnx.graph.select import activations, nodes_matching, tensors_matching

__all__ = [
    "activations",
    "cleaned",
    "inferred",
    "nodes_matching",
    "tensors_matching",
]
