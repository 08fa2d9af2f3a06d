"""Graphs with added outputs that describe their tensors."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from plugins.quantizer._onnx.calibration.probes import (
    LEAST,
    MEAN,
    MOST,
    SAMPLE,
    around,
    probed,
    same_values,
    shapes_of,
)


def network() -> onnx.ModelProto:
    """Return x -Mul- m -Transpose- t -Relu- y, of any length, with types for every tensor."""
    nodes = [
        helper.make_node("Mul", ["x", "two"], ["m"]),
        helper.make_node("Transpose", ["m"], ["t"], perm=[1, 0]),
        helper.make_node("Relu", ["t"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "network",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [8, "time"])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["time", 8])],
        [numpy_helper.from_array(np.float32(2), "two")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    return onnx.shape_inference.infer_shapes(model)


def _run(model: onnx.ModelProto, x: np.ndarray) -> dict[str, np.ndarray]:
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, {"x": x}), strict=True))


def test_tensors_around_an_operator_are_found() -> None:
    """The tensors that operators read and write are found in graph order, without weights."""
    assert around(network(), {"Relu", "Mul"}) == ["x", "m", "t", "y"]
    assert around(network(), {"Mul"}) == ["x", "m"]


def test_a_transposed_tensor_has_the_values_of_another() -> None:
    """A transposed tensor needs no probe, because another tensor has the same values."""
    assert same_values(network()) == {"t": "m"}


def test_shapes_are_told_without_the_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shapes are inferred without the weights: 2 GB of them do not fit one protobuf message."""
    shape = numpy_helper.from_array(np.array([2, -1]), "shape")
    weights = numpy_helper.from_array(np.ones((64, 64), np.float32), "w")
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["h"]),
        helper.make_node("Reshape", ["h", "shape"], ["y"]),
    ]
    given, made = (
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", "m"]) for name in "xy"
    )
    model = helper.make_model(helper.make_graph(nodes, "g", [given], [made], [shape, weights]))
    sizes: list[int] = []
    real = onnx.shape_inference.infer_shapes

    def infer(bare: onnx.ModelProto) -> onnx.ModelProto:
        sizes.append(bare.ByteSize())
        return real(bare)

    monkeypatch.setattr(onnx.shape_inference, "infer_shapes", infer)
    found = shapes_of(model, {"x": np.zeros((6, 64), np.float32)})
    assert (found["h"], found["y"]) == ((6, 64), (2, 192))
    assert max(sizes) < 2000


def test_probes_tell_extremes_and_values() -> None:
    """Probes give exact extremes and a sample of the values, and the graph's output stays."""
    x = np.random.default_rng(0).standard_normal((8, 50)).astype(np.float32)
    model = network()
    shapes = shapes_of(model, {"x": x})
    assert shapes == {"x": (8, 50), "m": (8, 50), "t": (50, 8), "y": (50, 8)}
    counts = dict.fromkeys(shapes, 400)
    found = _run(probed(model, ["x", "m"], counts, 1000, {"x": 0}), x)
    assert found["m" + LEAST] == 2 * x.min()
    assert found["m" + MOST] == 2 * x.max()
    np.testing.assert_array_equal(np.sort(found["x" + SAMPLE]), np.sort(x.ravel()))
    np.testing.assert_allclose(found["x" + MEAN], x.mean(1), rtol=1e-5)
    np.testing.assert_array_equal(found["y"], np.maximum(2 * x.T, 0))


def test_a_sample_comes_from_every_row() -> None:
    """A sample has values of every row, whatever its size is."""
    rows = np.repeat(np.arange(8, dtype=np.float32), 48).reshape(48, 8, order="F").T.copy()
    for samples in (20, 24, 48, 96):
        model = network()
        taken = _run(probed(model, ["x"], {"x": 384}, samples, {}), rows)["x" + SAMPLE]
        assert set(taken) == set(range(8))
        assert samples / 2 < taken.size <= samples


def test_probes_stand_behind_the_tensor_that_they_read() -> None:
    """Probes follow directly after their tensor, so the tensor can be freed early."""
    model = probed(network(), ["x", "m", "y"], dict.fromkeys("xmy", 400), 400, {})
    order = [name for node in model.graph.node for name in node.output if ":row" not in name]
    order = [name for name in order if name in "mty" or name.endswith((LEAST, MOST, SAMPLE))]
    assert order == [
        *(f"x{LEAST}", f"x{MOST}", f"x{SAMPLE}", "m", f"m{LEAST}", f"m{MOST}", f"m{SAMPLE}"),
        *("t", "y", f"y{LEAST}", f"y{MOST}", f"y{SAMPLE}"),
    ]
    assert len(model.graph.output) == 10
