"""The inner sums of reductions and norms equal NumPy's, in opsets that write axes differently."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from plugins.quantizer._onnx.calibration.observe import Summed
from plugins.quantizer._onnx.calibration.watched import observer_of

SHAPE = (2, 6, 5)
X = np.random.default_rng(0).standard_normal(SHAPE).astype(np.float32) * 3
GROUPED = X.astype(np.float64).reshape(2, 2, -1)


def _seen(operator: str, opset: int, weights: dict[str, Any], folder: Path, **named: Any) -> Summed:
    """Watch a graph of one node, which reads `X` and then `weights`."""
    node = helper.make_node(operator, ["x", *weights], ["y"], name="it", **named)
    graph = helper.make_graph(
        [node],
        "one",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, SHAPE)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    opsets = [helper.make_opsetid("", opset)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=10)
    observer = observer_of(onnx.shape_inference.infer_shapes(model), folder)
    observer.watch({"x": X})
    return observer.sums["it"]


@pytest.mark.parametrize(
    ("operator", "sums"),
    [
        ("ReduceMean", np.abs(X).sum(-1)),
        ("ReduceSum", np.abs(X).sum(-1)),
        ("ReduceL1", np.abs(X).sum(-1)),
        ("ReduceL2", np.square(X).sum(-1)),
        ("ReduceSumSquare", np.square(X).sum(-1)),
        ("ReduceLogSumExp", np.exp(X).sum(-1)),
    ],
)
@pytest.mark.parametrize("opset", [17, 20])
def test_a_reduction_sums_over_its_own_axes(
    operator: str, sums: Any, opset: int, tmp_path: Path
) -> None:
    """A reduction's inner sum is over its axes.

    It sums magnitudes, because signs could cancel, or squares or exponentials as the operator does.
    """
    as_input = opset >= 18 or operator == "ReduceSum"  # in these cases, axes are inputs
    axes = np.array([-1], np.int64)
    weights, named = ({"axes": axes}, {}) if as_input else ({}, {"axes": [-1]})
    seen = _seen(operator, opset, weights, tmp_path, **named)
    assert seen.terms == 5
    assert seen.largest == pytest.approx(float(sums.max()), rel=1e-5)
    assert math.isinf(seen.variance)


@pytest.mark.parametrize("operator", ["Softmax", "LogSoftmax"])
def test_a_softmax_sums_at_most_one_for_every_term(operator: str, tmp_path: Path) -> None:
    """A softmax sums at most 1 per term, because it subtracts the largest value first."""
    seen = _seen(operator, 20, {}, tmp_path, axis=1)
    assert (seen.terms, seen.largest) == (6, 6.0)


def test_a_layer_norm_sums_squares_over_its_last_axes(tmp_path: Path) -> None:
    """A layer norm sums squares over its last axes; its variance includes the epsilon."""
    weights = {"gain": np.ones(SHAPE[1:], np.float32)}
    seen = _seen("LayerNormalization", 20, weights, tmp_path, axis=1, epsilon=1e-3)
    flat = X.astype(np.float64).reshape(2, -1)
    assert seen.terms == 30
    assert seen.largest == pytest.approx(float(np.square(flat).sum(-1).max()), rel=1e-3)
    assert seen.variance == pytest.approx(float(flat.var(-1).min()) + 1e-3, rel=1e-3)


def test_an_instance_norm_sums_over_every_channel(tmp_path: Path) -> None:
    """An instance norm sums over all axes except batch and channel."""
    weights = {name: np.ones(6, np.float32) for name in ("gain", "offset")}
    seen = _seen("InstanceNormalization", 20, weights, tmp_path, epsilon=1e-3)
    assert seen.terms == 5
    assert seen.largest == pytest.approx(float(np.square(X).sum(-1).max()), rel=1e-5)
    assert seen.variance == pytest.approx(float(X.var(-1).min()) + 1e-3, rel=1e-3)


def test_a_group_norm_sums_over_every_group(tmp_path: Path) -> None:
    """A group norm sums over a group's channels and the axes after them."""
    weights = {name: np.ones(6, np.float32) for name in ("gain", "offset")}
    seen = _seen("GroupNormalization", 21, weights, tmp_path, num_groups=2)
    assert seen.terms == 15
    assert seen.largest == pytest.approx(float(np.square(GROUPED).sum(-1).max()), rel=1e-5)
    assert seen.variance == pytest.approx(float(GROUPED.var(-1).min()) + 1e-5, rel=1e-3)
