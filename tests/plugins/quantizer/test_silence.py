"""Biases correct the rounding error of silent windows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from core.measure.metrics import snr_db
from plugins.quantizer._onnx.qdq.silence import settle, silent
from plugins.quantizer.qdq import Activation, Method, Qdq
from tests.plugins.graphs import computed, graph, lowered, windows

CHANNELS, LENGTH, LAYERS = 12, 256, 5
SETTLE = "plugins.quantizer._onnx.qdq.static.settle"


def network(fed: str = "x") -> onnx.ModelProto:
    """Return gated convolutions, whose channels are constant in silence."""
    random = np.random.default_rng(5)
    nodes, constants, read = [], {}, fed
    for place in range(LAYERS):
        constants[f"w{place}"] = random.standard_normal((CHANNELS, CHANNELS, 3)) / 6
        constants[f"b{place}"] = random.standard_normal(CHANNELS)
        names = [f"{kind}{place}" for kind in "wbcsg"]
        nodes += [
            helper.make_node("Conv", [read, *names[:2]], [names[2]], f"conv{place}", pads=[1, 1]),
            helper.make_node("Sigmoid", [names[2]], [names[3]], f"gate{place}"),
            helper.make_node("Mul", [names[2], names[3]], [names[4]], f"product{place}"),
        ]  # fmt: skip
        read = names[4]
    nodes[-1].output[0] = "y"
    shape = [1, CHANNELS, LENGTH]
    return graph(nodes, {fed: shape}, {"y": shape}, constants)


def loud(random: np.random.Generator) -> dict[str, np.ndarray]:
    """Return a window full of sound."""
    return {"x": 3 * random.standard_normal((1, CHANNELS, LENGTH))}


def _quiet_error(model: onnx.ModelProto, path: Path) -> float:
    """Return the largest mean error of a channel in a silent window."""
    window = {"x": np.zeros((1, CHANNELS, LENGTH), np.float32)}
    (expected,), (actual,) = computed(model, window), computed(path, window)
    return float(np.abs((expected - actual)[..., 8:-8].mean(-1)).max())


def _made(activation: Activation, folder: Path, model: onnx.ModelProto) -> Path:
    options = Qdq.Options(activation=activation, method=Method.minmax, per_channel=True)
    return Path(lowered(Qdq(options), model, windows(loud, 10), folder).path)


def test_silence_is_computed_nearer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The mean error in silence is halved, and sound loses less than 1 dB."""
    model = network()
    after = _made(Activation.uint16, tmp_path / "after", model)
    monkeypatch.setattr(SETTLE, lambda *_: 0)
    before = _made(Activation.uint16, tmp_path / "before", model)
    assert _quiet_error(model, after) < _quiet_error(model, before) / 2
    (window,) = windows(loud, 1, seed=7)
    (expected,) = computed(model, window)
    found = [snr_db(expected, computed(path, window)[0]) for path in (before, after)]
    assert found[1] > found[0] - 1


def test_a_graph_with_8_bits_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A graph with 8-bit activations is unchanged: its steps are too wide for this correction."""
    model = network()
    after = _made(Activation.uint8, tmp_path / "after", model)
    monkeypatch.setattr(SETTLE, lambda *_: 0)
    assert after.read_bytes() == _made(Activation.uint8, tmp_path / "before", model).read_bytes()


def test_only_signals_are_silent() -> None:
    """Only float inputs get a silent copy, because a zero in a mask or text has a meaning."""
    signal = np.ones((2, 3), np.float32)
    found = silent({"x": signal})
    assert found is not None
    assert not found["x"].any()
    assert silent({"x": signal, "ids": np.ones(3, np.int64)}) is None


def test_an_example_that_would_lose_keeps_the_graph(tmp_path: Path) -> None:
    """The graph stays unchanged if biases fitted to silence would harm the example window."""
    made = onnx.load(str(_made(Activation.uint16, tmp_path, network())))
    before = made.SerializeToString()
    inner = network("z").graph
    nodes = [
        helper.make_node("Equal", ["x", "zero"], ["e"]),
        helper.make_node("Cast", ["e"], ["f"], to=onnx.TensorProto.FLOAT),
        helper.make_node("Add", ["x", "f"], ["z"]),
        *inner.node,
    ]
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in inner.initializer}
    shape = [1, CHANNELS, LENGTH]
    special = graph(nodes, {"x": shape}, {"y": shape}, constants | {"zero": 0.0})
    (window,) = windows(loud, 1)
    assert settle(made, special, window) == 0
    assert made.SerializeToString() == before
    assert settle(made, network(), window) == LAYERS
