"""Some tensors get a type of their own in a graph for QNN."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import QuantType

from plugins.quantizer._onnx.qdq.qnn_ranges import edge_tensors, qnn_overrides


def network() -> onnx.ModelProto:
    """Return x -conv1- a -conv2- b -conv3- c -norm- n -conv4- d, then y = d + a."""
    weight = numpy_helper.from_array(np.ones((4, 4, 1), np.float32), "weight")
    gain = numpy_helper.from_array(np.ones(8, np.float32), "gain")
    nodes = [
        helper.make_node("Conv", ["x", "weight"], ["a"]),
        helper.make_node("Conv", ["a", "weight"], ["b"]),
        helper.make_node("Conv", ["b", "weight"], ["c"]),
        helper.make_node("LayerNormalization", ["c", "gain"], ["n"]),
        helper.make_node("Conv", ["n", "weight"], ["d"]),
        helper.make_node("Add", ["d", "a"], ["y"]),
    ]
    shape = [1, 4, 8]
    graph = helper.make_graph(
        nodes,
        "network",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)],
        [weight, gain],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


@pytest.mark.parametrize(
    ("depth", "expected"),
    [(0, ["x", "a", "d", "y"]), (1, ["x", "a", "c", "n", "d", "y"])],
)
def test_layers_are_counted_from_both_ends(depth: int, expected: list[str]) -> None:
    """Edge tensors are counted in layers from both ends, also through a skip.

    A norm does not count as a layer, and weights are never edge tensors.
    """
    wide = edge_tensors(network(), depth)
    assert wide == expected


def test_norm_gains_are_unsigned_with_one_scale() -> None:
    """Gains of a LayerNormalization are unsigned with one scale, as QNN requires."""
    overrides = qnn_overrides(network(), ["x"])
    assert overrides == {
        "x": [{"quant_type": QuantType.QUInt16}],
        "gain": [{"quant_type": QuantType.QUInt8, "symmetric": False}],
    }
