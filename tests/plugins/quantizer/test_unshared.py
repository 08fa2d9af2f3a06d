"""Each node gets its own copy of shared quantised weights, and the result stays the same."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from plugins.quantizer._onnx.graph.unshared import unshare_weights


def shared() -> onnx.ModelProto:
    """Return two products with the same quantised weights."""
    random = np.random.default_rng(0)
    weights = random.integers(-127, 127, (4, 4)).astype(np.int8)
    nodes = [
        helper.make_node("DequantizeLinear", ["w", "scale", "zero"], ["weights"], name="dq"),
        helper.make_node("MatMul", ["x", "weights"], ["h"], name="first"),
        helper.make_node("MatMul", ["h", "weights"], ["y"], name="second"),
    ]
    shape = [1, 4]
    graph = helper.make_graph(
        nodes,
        "shared",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)],
        [
            numpy_helper.from_array(weights, "w"),
            numpy_helper.from_array(np.float32(0.01), "scale"),
            numpy_helper.from_array(np.int8(0), "zero"),
        ],
    )
    opset = [helper.make_opsetid("", 20)]
    return helper.make_model(graph, opset_imports=opset, ir_version=10)


def computed(model: onnx.ModelProto) -> np.ndarray:
    """Return ONNX Runtime's output for one row."""
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    (y,) = session.run(["y"], {"x": np.array([[1, -2, 3, 0.5]], np.float32)})
    return np.asarray(y)


def test_every_reader_gets_its_own_and_the_result_stays() -> None:
    """Each reader of quantised weights gets its own copy, and the result is the same."""
    before = computed(shared())
    model = unshare_weights(shared())
    onnx.checker.check_model(model)
    reads = [n.input for n in model.graph.node if n.op_type == "DequantizeLinear"]
    assert len(reads) == 2
    assert all(len({names[i] for names in reads}) == 2 for i in range(3))
    np.testing.assert_array_equal(computed(model), before)


def test_a_graph_that_shares_nothing_is_left_alone() -> None:
    """A graph without shared weights stays unchanged."""
    model = unshare_weights(shared())
    text = model.SerializeToString()
    assert unshare_weights(model).SerializeToString() == text
