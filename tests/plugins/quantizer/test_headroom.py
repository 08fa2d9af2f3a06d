"""Headroom above the calibrated range: its size, its limits, and its benefit."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from core import Calibration, StageContext
from core.conformance.converter import artifact
from core.formats.calibrated_ranges import held_ranges
from core.measure.metrics import snr_db
from core.plugin.progress import silent
from plugins.quantizer._onnx.calibration.headroom import MOST_OF_OPERAND, with_headroom
from plugins.quantizer._onnx.calibration.probes import second_operands
from plugins.quantizer._onnx.calibration.value_bounds import value_bounds
from plugins.quantizer._onnx.qdq.options import Activation, QdqOptions
from plugins.quantizer.qdq import Qdq

SHAPE = [1, 8, 256]


def test_room_is_wide_where_it_costs_nothing() -> None:
    """Headroom is wide for a tensor with a high mean power and narrow for one with rare peaks."""
    assert with_headroom((-1, 1), 0.25) == (-8, 8)
    assert with_headroom((-1, 1), 1e-7) == (-1.5, 1.5)
    low, high = with_headroom((-1, 1), 2e-3)
    assert -low == high
    assert 1.5 < high < 8
    step = (high - low) / 65535
    assert 10 * math.log10(2e-3 / (step**2 / 12)) == pytest.approx(62, abs=0.01)


def test_what_was_seen_is_always_held() -> None:
    """The range always holds the seen values, whatever an operator's bounds are."""
    assert with_headroom((-0.2, 5), 1.0, (-0.17, math.inf)) == (-0.2, 40)
    assert with_headroom((0, 0), 0.0) == (0, 0)
    assert with_headroom((0.5, 1), 0.6, (0, 1)) == (0, 1)


def test_a_side_that_was_not_reached_gets_room() -> None:
    """A side that calibration did not reach gets room, unless the operator excludes it."""
    assert with_headroom((0, 2), 1.0) == (-8, 16)
    assert with_headroom((0, 2), 1e-8) == (-2, 3)
    assert with_headroom((0, 2), 1.0, (0, math.inf)) == (0, 16)


def test_what_a_product_reads_second_gets_little_room() -> None:
    """The second operand of a product of two signals gets little headroom.

    It is found through operators that rearrange or pick values.
    """
    nodes = [
        helper.make_node("Gather", ["kv", "first"], ["k"], axis=0),
        helper.make_node("Transpose", ["k"], ["t"], perm=[0, 2, 1]),
        helper.make_node("Reshape", ["t", "shape"], ["u"]),
        helper.make_node("MatMul", ["q", "u"], ["scores"]),
        helper.make_node("MatMul", ["scores", "weights"], ["y"]),
    ]
    values = [helper.make_tensor_value_info(n, TensorProto.FLOAT, SHAPE) for n in ("q", "kv")]
    constants = [
        numpy_helper.from_array(np.array([0], np.int64), "first"),
        numpy_helper.from_array(np.array([1, 256, 8], np.int64), "shape"),
        numpy_helper.from_array(np.ones((8, 8), np.float32), "weights"),
    ]
    ends = [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)]
    model = helper.make_model(helper.make_graph(nodes, "g", values, ends, constants))
    assert second_operands(model) == {"kv", "k", "t", "u"}
    assert with_headroom((-1, 1), 0.25, most=MOST_OF_OPERAND) == (-1.25, 1.25)


def test_bounds_follow_from_operators() -> None:
    """Bounds of values follow through rearranging, sums and products, up to an unknown operator."""
    nodes = [
        helper.make_node("Sigmoid", ["x"], ["s"]),
        helper.make_node("Transpose", ["s"], ["t"], perm=[0, 2, 1]),
        helper.make_node("Mul", ["t", "two"], ["d"]),
        helper.make_node("Sub", ["d", "two"], ["u"]),
        helper.make_node("Mul", ["x", "x"], ["q"]),
        helper.make_node("ReduceMean", ["q", "axes"], ["m"]),
        helper.make_node("Sqrt", ["m"], ["r"]),
        helper.make_node("Sub", ["r", "r"], ["n"]),
        helper.make_node("Div", ["x", "r"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes, "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, SHAPE)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [
            numpy_helper.from_array(np.float32(2), "two"),
            numpy_helper.from_array(np.array([1], np.int64), "axes"),
        ],
    )  # fmt: skip
    found = value_bounds(helper.make_model(graph))
    assert [found[name] for name in "stdu"] == [(0, 1), (0, 1), (0, 2), (-2, 0)]
    assert found["q"] == found["m"] == found["r"] == (0, math.inf)
    assert not {"x", "n", "y"} & found.keys()


def test_a_clip_bounds_what_it_gives() -> None:
    """A Clip bounds its output by each constant end, also before opset 11."""
    nodes = [
        helper.make_node("Clip", ["x", "zero", "six"], ["both"]),
        helper.make_node("Clip", ["x", "", "six"], ["upper"]),
        helper.make_node("Clip", ["x", "zero"], ["lower"]),
        helper.make_node("Clip", ["both", "two"], ["inner"]),
        helper.make_node("Clip", ["x", "x", "six"], ["computed"]),
    ]
    constants = [numpy_helper.from_array(np.float32(v), n) for n, v in
                 (("zero", 0), ("two", 2), ("six", 6))]  # fmt: skip
    ends = [
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, SHAPE)] for name in ("x", "inner")
    ]
    found = value_bounds(helper.make_model(helper.make_graph(nodes, "g", *ends, constants)))
    assert [found[name] for name in ("both", "upper", "lower", "inner")] == [
        (0, 6), (-math.inf, 6), (0, math.inf), (2, 6),
    ]  # fmt: skip
    assert found["computed"] == (-math.inf, 6)
    old = [helper.make_node("Clip", ["x"], ["inner"], min=-1.0, max=2.0)]
    assert value_bounds(helper.make_model(helper.make_graph(old, "g", *ends)))["inner"] == (-1, 2)


def _network(folder: Path) -> Path:
    """Write two layers with a nonlinearity between them."""
    random = np.random.default_rng(0)
    weights = [(random.standard_normal((8, 8, 3)) / 5).astype(np.float32) for _ in range(2)]
    nodes = [
        helper.make_node("Conv", ["x", "a"], ["h"], name="first", pads=[1, 1]),
        helper.make_node("Relu", ["h"], ["r"], name="relu"),
        helper.make_node("Conv", ["r", "b"], ["y"], name="second", pads=[1, 1]),
    ]
    graph = helper.make_graph(
        nodes, "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, SHAPE)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, SHAPE)],
        [numpy_helper.from_array(w, n) for w, n in zip(weights, "ab", strict=True)],
    )  # fmt: skip
    folder.mkdir()
    path = folder / "model.onnx"
    opsets = [helper.make_opsetid("", 18)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=10), path)
    return path


def _feeds(scale: float, seed: int) -> dict[str, np.ndarray]:
    random = np.random.default_rng(seed)
    return {"x": (scale * random.standard_normal(SHAPE)).astype(np.float32)}


def _run(path: Path, feeds: dict[str, np.ndarray]) -> np.ndarray:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    found: np.ndarray = session.run(None, feeds)[0]
    return found


@pytest.mark.parametrize("options", [
    QdqOptions(activation=Activation.uint16, windows=8, per_channel=True),
    QdqOptions(windows=8, per_channel=True, edges=9),
])  # fmt: skip
def test_what_is_louder_than_calibration_survives(options: QdqOptions, tmp_path: Path) -> None:
    """A window three times as loud as the calibration keeps over 35 dB.

    Ranges that end at the calibrated extremes left 12 dB.
    """
    source = _network(tmp_path / "float")
    quiet = [_feeds(1.0, seed) for seed in range(8)]
    (tmp_path / "out").mkdir()
    made = Qdq(options).run(
        artifact(tmp_path / "float", source, "onnx", "fp32"),
        Calibration(8, lambda: iter(quiet)),
        StageContext(tmp_path / "out", silent()),
    )
    loud = _feeds(3.0, 99)
    assert snr_db(_run(source, loud), _run(Path(made.path), loud)) > 35


def test_a_graph_carries_what_calibration_saw(tmp_path: Path) -> None:
    """The graph stores the seen range and the held range of each tensor, by its float name."""
    source = _network(tmp_path / "float")
    quiet = [_feeds(1.0, seed) for seed in range(8)]
    (tmp_path / "out").mkdir()
    made = Qdq(QdqOptions(activation=Activation.uint16, windows=8)).run(
        artifact(tmp_path / "float", source, "onnx", "fp32"),
        Calibration(8, lambda: iter(quiet)),
        StageContext(tmp_path / "out", silent()),
    )
    held = held_ranges(onnx.load(made.path))
    assert held.keys() == {"x", "h", "r", "y"} or held.keys() == {"x", "r", "y"}
    peak = max(float(np.abs(feeds["x"]).max()) for feeds in quiet)
    assert held["x"].seen is not None
    assert max(-held["x"].seen[0], held["x"].seen[1]) == pytest.approx(peak, rel=1e-5)
    assert held["x"].held[1] > 2.9 * held["x"].seen[1]
    assert held["r"].held[0] == 0
