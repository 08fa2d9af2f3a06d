"""Scales follow from the scaled values, whether these are small, loud, flat or empty."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper

from plugins.quantizer.mixed import Mixed
from plugins.quantizer.qat import Qat
from plugins.quantizer.qdq import Activation, Method, Qdq, Weight
from tests.plugins.graphs import graph, lowered, windows, worst_db

RANDOM = np.random.default_rng(0)
CHANNELS = 8
BOTH = pytest.mark.parametrize("activation", [Activation.uint8, Activation.uint16])


def _qdq(activation: Activation = Activation.uint8, **options: object) -> Qdq:
    return Qdq(Qdq.Options(activation=activation, method=Method.minmax, **options))


def _kernel(channels: int = CHANNELS, size: int = 3) -> np.ndarray:
    return RANDOM.standard_normal((channels, CHANNELS, size)) / 5


def _draw(
    gain: float = 1.0, shape: tuple[int, ...] = (1, CHANNELS, 64)
) -> list[dict[str, np.ndarray]]:
    return windows(lambda r: {"x": gain * r.uniform(-1, 1, shape)}, 14)


def pair(weights: np.ndarray, bias: np.ndarray, back: float = 1.0) -> onnx.ModelProto:
    """Return two convolutions with a ReLU between them; the second has weights times `back`."""
    nodes = [
        helper.make_node("Conv", ["x", "w", "b"], ["h"], name="first", pads=[1, 1]),
        helper.make_node("Relu", ["h"], ["r"], name="relu"),
        helper.make_node("Conv", ["r", "v"], ["y"], name="second", pads=[1, 1]),
    ]
    constants = {"w": weights, "b": bias, "v": _kernel() * back}
    return graph(nodes, {"x": [1, CHANNELS, 64]}, {"y": [1, CHANNELS, 64]}, constants)


@BOTH
@pytest.mark.parametrize("size", [1e-8, 1e-20])
def test_small_weights_are_no_zeros(size: float, activation: Activation, tmp_path: Path) -> None:
    """Tiny weights with a large input quantise as well as ordinary ones."""
    bias = RANDOM.standard_normal(CHANNELS) / 5
    model = pair(_kernel() * size, bias)
    given = _draw(1 / size)
    made = lowered(_qdq(activation, per_channel=True), model, given[:12], tmp_path)
    assert worst_db(model, made, given[12:]) > (30 if activation is Activation.uint8 else 35)


def test_mixed_and_qat_take_small_weights(tmp_path: Path) -> None:
    """`mixed` and `qat` take tiny weights, because their ranges have no lower limit."""
    model = pair(_kernel() * 1e-8, RANDOM.standard_normal(CHANNELS) / 5)
    given = [*_draw(1e8), *_draw(1e8)]
    mixed = Mixed(Mixed.Options(windows=20, held_windows=2, min_snr_db=28))
    assert worst_db(model, lowered(mixed, model, given[:22], tmp_path / "mixed"), given[22:]) > 28
    learned = Qat(Qat.Options(windows=20, steps=0))
    assert worst_db(model, lowered(learned, model, given[:20], tmp_path / "qat"), given[22:]) > 28


@BOTH
@pytest.mark.parametrize("per_channel", [True, False])
@pytest.mark.parametrize("weight", [Weight.int8, Weight.uint8])
@pytest.mark.parametrize("zero", [slice(0, 3), slice(None)], ids=["some channels", "all"])
def test_a_bias_beside_weights_of_zero_is_kept(
    zero: slice, weight: Weight, per_channel: bool, activation: Activation, tmp_path: Path
) -> None:
    """A bias is kept although the layer's weights are zero.

    Once its step was a whole unit there.
    """
    weights = _kernel()
    weights[zero] = 0
    model = pair(weights, RANDOM.uniform(0.1, 0.4, CHANNELS))
    given = _draw()
    quantizer = _qdq(activation, per_channel=per_channel, weight=weight)
    made = lowered(quantizer, model, given[:12], tmp_path)
    assert worst_db(model, made, given[12:]) > 30


@pytest.mark.parametrize("weight", [Weight.int8, Weight.uint8, Weight.int4])
def test_a_bias_that_passes_32_bits_is_not_cut(weight: Weight, tmp_path: Path) -> None:
    """A bias is not cut although its step, input times weights, is too small for 32 bits."""
    weights = _kernel()
    weights[:4] *= 1e-9
    model = pair(weights, RANDOM.uniform(1, 4, CHANNELS))
    given = _draw()
    quantizer = _qdq(Activation.uint16, per_channel=False, weight=weight)
    made = lowered(quantizer, model, given[:12], tmp_path)
    assert worst_db(model, made, given[12:]) > (15 if weight is Weight.int4 else 35)
    small = pair(weights * 1e-9, RANDOM.uniform(1, 4, CHANNELS))
    made = lowered(quantizer, small, given[:12], tmp_path / "small")
    assert worst_db(small, made, given[12:]) > (15 if weight is Weight.int4 else 35)


@BOTH
@pytest.mark.parametrize("kind", ["Instance", "Layer", "Batch"])
@pytest.mark.parametrize("gain", [1e5, 1.0, 1e-5])
def test_a_norm_keeps_its_bias_however_loud_its_input(
    kind: str, gain: float, activation: Activation, tmp_path: Path
) -> None:
    """A norm keeps its bias for any loudness of its input, because the norm divides by it."""
    length = 64 if kind == "Layer" else CHANNELS
    constants = {"g": RANDOM.uniform(0.5, 2, length), "b": RANDOM.standard_normal(length)}
    operands = ["x", "g", "b"]
    if kind == "Batch":
        constants |= {"mean": np.zeros(length), "variance": np.full(length, gain**2 / 3)}
        operands += ["mean", "variance"]
    nodes = [
        helper.make_node(f"{kind}Normalization", operands, ["n"], name="norm", epsilon=1e-30),
        helper.make_node("Conv", ["n", "w"], ["y"], name="conv", pads=[1, 1]),
    ]
    shape = [1, CHANNELS, 64]
    model = graph(nodes, {"x": shape}, {"y": shape}, constants | {"w": _kernel()})
    given = _draw(gain)
    made = lowered(_qdq(activation, per_channel=True), model, given[:12], tmp_path)
    assert worst_db(model, made, given[12:]) > (30 if activation is Activation.uint8 else 35)


def test_a_softmax_over_many_keys_is_not_rounded_to_nothing(tmp_path: Path) -> None:
    """A softmax over 512 keys keeps its weights of at most 0.02.

    An 8-bit step of a range up to 1 is 0.004.
    """
    constants = {"v": RANDOM.standard_normal((512, 8))}
    nodes = [
        helper.make_node("Softmax", ["x"], ["w"], name="weights", axis=-1),
        helper.make_node("MatMul", ["w", "v"], ["y"], name="y"),
    ]
    model = graph(nodes, {"x": [16, 512]}, {"y": [16, 8]}, constants)
    given = _draw(1.0, (16, 512))
    made = lowered(_qdq(), model, given[:12], tmp_path)
    assert worst_db(model, made, given[12:]) > 25


@pytest.mark.parametrize("groups", [1, 2, CHANNELS])
def test_transposed_convolutions_of_groups_quantise(groups: int, tmp_path: Path) -> None:
    """Transposed convolutions with groups quantise.

    Their weights have the channels of one group, their bias has all channels.
    """
    weights = RANDOM.standard_normal((CHANNELS, CHANNELS // groups, 4)) / 4
    node = helper.make_node(
        "ConvTranspose", ["x", "w", "b"], ["y"], name="up", strides=[2], group=groups
    )
    constants = {"w": weights, "b": RANDOM.standard_normal(CHANNELS)}
    model = graph([node], {"x": [1, CHANNELS, 64]}, {"y": [1, CHANNELS, 130]}, constants)
    given = _draw()
    made = lowered(_qdq(per_channel=True), model, given[:12], tmp_path)
    assert worst_db(model, made, given[12:]) > 30


def test_layers_that_share_constants_quantise_along_their_own_channels(tmp_path: Path) -> None:
    """Layers with shared weights quantise, each along its own channels.

    A convolution shares its weights with a transposed one; a bias is also added as a signal.
    """
    constants = {"w": RANDOM.standard_normal((CHANNELS, 4, 3)) / 4, "b": RANDOM.standard_normal(4)}
    constants |= {"c": RANDOM.standard_normal(CHANNELS), "shape": np.array([1, 4, 1])}
    nodes = [
        helper.make_node("ConvTranspose", ["x", "w", "b"], ["h"], name="up", pads=[1, 1]),
        helper.make_node("Conv", ["h", "w", "c"], ["g"], name="down", pads=[1, 1]),
        helper.make_node("Reshape", ["b", "shape"], ["column"], name="column"),
        helper.make_node("Add", ["h", "column"], ["again"], name="again"),
        helper.make_node("Mul", ["again", "g4"], ["y"], name="y"),
        helper.make_node("Slice", ["g", "zero", "four", "one"], ["g4"], name="g4"),
    ]
    nodes = [*nodes[:4], nodes[5], nodes[4]]
    constants |= {"zero": np.array([0]), "four": np.array([4]), "one": np.array([1])}
    model = graph(
        nodes, {"x": [1, CHANNELS, 64]}, {"y": [1, 4, 64], "g": [1, CHANNELS, 64]}, constants
    )
    given = _draw()
    made = lowered(_qdq(per_channel=True), model, given[:12], tmp_path)
    assert worst_db(model, made, given[12:]) > 25


def test_what_fp32_holds_no_scale_for_is_told(tmp_path: Path) -> None:
    """Weights of 1e-36, which become zero in any integer, cause a warning with the tensor."""
    model = pair(_kernel() * 1e-36, RANDOM.uniform(0.1, 0.4, CHANNELS))
    made = lowered(_qdq(), model, _draw()[:12], tmp_path)
    (told,) = (n for n in made.notices if "become zero" in n.text)
    assert told.severity == "warning"
    assert "w (" in told.text


@pytest.mark.parametrize("case", ["zeros", "nothing", "a number"])
def test_tensors_of_zeros_of_nothing_and_of_one_number(case: str, tmp_path: Path) -> None:
    """An input of zeros, without elements, or of one number quantises."""
    shapes: dict[str, list[int | str]] = {
        "zeros": [1, CHANNELS, 64], "nothing": [1, 0, 64], "a number": [],
    }  # fmt: skip
    joined = helper.make_node("Concat", ["x", "other"], ["h"], name="join", axis=1)
    if case != "nothing":
        joined = helper.make_node("Add", ["x", "other"], ["h"], name="join")
    nodes = [joined, helper.make_node("Conv", ["h", "w"], ["y"], name="conv", pads=[1, 1])]
    shape = [1, CHANNELS, 64]
    model = graph(nodes, {"x": shape, "other": shapes[case]}, {"y": shape}, {"w": _kernel()})

    def draw(r: np.random.Generator) -> dict[str, np.ndarray]:
        other = np.zeros(shapes[case]) if case != "a number" else np.array(r.uniform(-1, 1))
        return {"x": r.uniform(-1, 1, shape), "other": other}

    given = windows(draw, 14)
    for method in (Method.minmax, Method.mse):
        made = lowered(Qdq(Qdq.Options(method=method)), model, given[:12], tmp_path / method.name)
        assert worst_db(model, made, given[12:]) > 28
