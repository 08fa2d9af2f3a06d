"""A 16-bit range ends where its readers no longer distinguish values."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper

from plugins.quantizer._onnx.calibration.reader_bounds import reader_bounds, within
from plugins.quantizer._onnx.qdq.qnn_ranges import carried
from plugins.quantizer.qdq import Activation, Qdq
from tests.plugins.graphs import graph, lowered, windows, worst_db

SHAPE = [1, 8, 64]
RANDOM = np.random.default_rng(0)


def _node(operator: str, inputs: str, outputs: str, **attributes: object) -> onnx.NodeProto:
    return helper.make_node(
        operator, inputs.split(), outputs.split(), name=f"{outputs}/node", **attributes
    )


def gated() -> onnx.ModelProto:
    """Return a gate whose scores are an input of the graph, with two transpositions."""
    nodes = [
        _node("Conv", "x w", "value", pads=[1, 1]),
        _node("Transpose", "scores", "turned", perm=[0, 2, 1]),
        _node("Sigmoid", "turned", "turned_gate"),
        _node("Transpose", "turned_gate", "gate", perm=[0, 2, 1]),
        _node("Mul", "value gate", "y"),
    ]
    kernel = RANDOM.standard_normal((8, 8, 3)) / 5
    return graph(nodes, {"x": SHAPE, "scores": SHAPE}, {"y": SHAPE}, {"w": kernel})


def scored(r: np.random.Generator) -> dict[str, np.ndarray]:
    """Return a window whose gates are far open or shut, except for one channel in between."""
    scores = r.uniform(-30_000, 30_000, SHAPE)
    scores[:, 0] = r.uniform(-2, 2, SHAPE[2])
    return {"x": r.uniform(-1, 1, SHAPE), "scores": scores}


def test_only_what_saturating_operators_read_is_bounded() -> None:
    """A tensor is bounded if all its readers saturate, also through rearranging operators."""
    assert reader_bounds(gated()) == {"scores": (-12.0, 12.0)}
    model = gated()
    model.graph.node.append(_node("Gelu", "scores", "more"))
    assert reader_bounds(model) == {"scores": (-12.0, math.inf)}
    model.graph.node.append(_node("Neg", "scores", "most"))
    assert reader_bounds(model) == {}
    model = gated()
    model.graph.output.append(helper.make_tensor_value_info("turned", onnx.TensorProto.FLOAT, None))
    assert reader_bounds(model) == {}


@pytest.mark.parametrize(
    ("ends", "bounds", "left"),
    [
        ((-153.0, 306.0), (-12.0, 12.0), (-12.0, 12.0)),
        ((-197.0, 190.0), (-6.0, math.inf), (-6.0, 190.0)),
        ((-2.0, 3.0), (-12.0, 12.0), (-2.0, 3.0)),
        ((20.0, 50.0), (-12.0, 12.0), (12.0, 12.0)),
    ],
)
def test_a_range_ends_at_its_bounds(
    ends: tuple[float, float], bounds: tuple[float, float], left: tuple[float, float]
) -> None:
    """A range is cut to its bounds, and a narrower range stays unchanged."""
    assert within(ends, bounds) == left


def test_gates_keep_their_steps(tmp_path: Path) -> None:
    """Scores of a gate keep many steps between open and shut, so the result has over 42 dB."""
    model = gated()
    given = windows(scored, 12)
    quantizer = Qdq(Qdq.Options(activation=Activation.uint16, per_channel=True))
    assert worst_db(model, lowered(quantizer, model, given[:10], tmp_path), given[10:]) > 42


def test_what_arranges_wide_tensors_is_wide_up_to_a_layer() -> None:
    """A rearranged wide tensor stays wide for a gate and gets 8 bits for a product."""
    nodes = [
        _node("Softmax", "x", "s"),
        _node("Transpose", "s", "turned", perm=[0, 2, 1]),
        _node("Sigmoid", "turned", "gate"),
        _node("Transpose", "s", "keys", perm=[0, 2, 1]),
        _node("MatMul", "keys w", "y"),
    ]
    model = graph(nodes, {"x": SHAPE}, {"y": [1, 64, 8]}, {"w": np.eye(8)})
    assert carried(model, ["s"]) == ["s", "turned"]
