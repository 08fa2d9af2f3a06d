"""GPTQ rounds weights so that their errors cancel, in every form of layer."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from core import StageResult
from core.measure.metrics import snr_db
from plugins.quantizer._onnx.calibration.patches import Patches
from plugins.quantizer._onnx.calibration.probes import shapes_of
from plugins.quantizer._onnx.graph.products import products_of
from plugins.quantizer._onnx.qdq.gptq import round_weights, rounded
from plugins.quantizer.qdq import Activation, Method, Qdq, Weight
from tests.plugins.graphs import computed, graph, lowered, windows, worst_db

#: Operator, shape of its input, shape of its weights, attributes.
FORMS = {
    "conv": ("Conv", [1, 8, 64], [6, 8, 3], {"pads": [1, 1]}),
    "strided": ("Conv", [3, 8, 65], [6, 8, 4], {"strides": [2], "pads": [3, 0]}),
    "dilated": ("Conv", [1, 8, 64], [6, 8, 3], {"dilations": [5], "pads": [2, 1]}),
    "grouped": ("Conv", [1, 8, 64], [6, 4, 3], {"group": 2}),
    "depthwise": ("Conv", [2, 6, 20, 20], [6, 1, 3, 5], {"group": 6, "pads": [1, 2, 1, 2]}),
    "of two axes": ("Conv", [1, 4, 24, 17], [6, 4, 3, 2], {"strides": [1, 2], "pads": [0, 1, 2, 0]}),  # noqa: E501
    "of three axes": ("Conv", [1, 4, 9, 8, 7], [6, 4, 3, 2, 2], {}),
    "pointwise": ("Conv", [1, 8, 64], [6, 8, 1], {}),
    "transposed": ("ConvTranspose", [1, 8, 64], [8, 6, 8], {"strides": [4], "pads": [2, 1]}),
    "transposed, uneven": ("ConvTranspose", [1, 8, 64], [8, 6, 5], {"strides": [2]}),
    "transposed, gaps": ("ConvTranspose", [1, 8, 32], [8, 6, 2], {"strides": [3]}),
    "transposed, padded behind": (
        "ConvTranspose", [1, 8, 64], [8, 6, 3],
        {"strides": [2], "pads": [1, 1], "output_padding": [1]},
    ),
    "transposed, grouped": ("ConvTranspose", [1, 8, 64], [8, 3, 4], {"strides": [2], "group": 2}),
    "transposed, two axes": (
        "ConvTranspose", [1, 4, 9, 12], [4, 6, 4, 3], {"strides": [2, 1], "pads": [1, 0, 1, 2]},
    ),
    "gemm": ("Gemm", [40, 8], [8, 6], {}),
    "gemm, transposed": ("Gemm", [40, 8], [6, 8], {"transB": 1}),
    "matmul": ("MatMul", [2, 5, 40, 8], [8, 6], {}),
}  # fmt: skip
EVERY_FORM = pytest.mark.parametrize("form", FORMS)


def layer(form: str) -> onnx.ModelProto:
    """Return a graph of one layer, without a bias."""
    operator, shape, weights, given = FORMS[form]
    random = np.random.default_rng(1)
    node = helper.make_node(operator, ["x", "w"], ["y"], name="layer", **given)
    free = [f"axis {place}" for place in range(len(shape))]
    return graph([node], {"x": shape}, {"y": free}, {"w": random.standard_normal(weights)})


def related(shape: list[int], count: int, seed: int = 0) -> list[dict[str, np.ndarray]]:
    """Return windows whose neighbours along every axis are strongly correlated."""

    def draw(random: np.random.Generator) -> dict[str, np.ndarray]:
        values = random.standard_normal(shape)
        for axis, length in enumerate(shape):
            values = np.cumsum(values, axis) * (3 / length) ** 0.5
        return {"x": np.tanh(values) + 0.01 * random.standard_normal(shape)}

    return windows(draw, count, seed)


def _db(model: onnx.ModelProto, made: StageResult, held: list[dict[str, np.ndarray]]) -> float:
    expected, actual = (
        np.concatenate([computed(played, window)[0].ravel() for window in held])
        for played in (model, made.path)
    )
    return snr_db(expected, actual)


@EVERY_FORM
def test_rows_are_what_the_layer_multiplies(form: str) -> None:
    """The moments of a layer's rows, through its weights, give the power of the layer's result."""
    model = layer(form)
    given = related(FORMS[form][1], 12)
    (product,) = products_of(model)
    patches = Patches([product], len(given))
    probed = onnx.ModelProto()
    probed.CopyFrom(model)
    patches.attach(probed, shapes_of(model, given[0]))
    names = [value.name for value in probed.graph.output]
    for window in given:
        found = computed(probed, window | patches.draw(window))
        patches.take(dict(zip(names, found, strict=True)))
    squares, results = [], np.concatenate([computed(model, w)[0].ravel() for w in given])
    for part, own in zip(product.parts, patches.moments["layer"], strict=True):
        rows = product.rows(product.weights, part)
        squares.append(np.einsum("goi,gij,goj->go", rows, own.moments, rows).mean())
    # With a kernel shorter than its strides, some places get no sum.
    steps = int(np.prod(product.strides)) if product.operator == "ConvTranspose" else 1
    expected = np.mean(results.astype(np.float64) ** 2)
    assert np.sum(squares) / steps == pytest.approx(expected, rel=0.1)


def test_few_places_count_as_few(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """24 places, one per window behind a pooling, are too few to make the result worse."""
    random = np.random.default_rng(2)
    nodes = [
        helper.make_node("GlobalAveragePool", ["x"], ["p"], "pool"),
        helper.make_node("Conv", ["p", "w"], ["y"], "layer"),
    ]
    shape, weights = [1, 64, 64], random.standard_normal((48, 64, 1))
    model = graph(nodes, {"x": shape}, {"y": [1, 48, 1]}, {"w": weights})

    def draw(random: np.random.Generator) -> dict[str, np.ndarray]:
        return {"x": random.standard_normal((1, 64, 1)) + 0.01 * random.standard_normal(shape)}

    held = windows(draw, 60, seed=9)
    options = Qdq.Options(weight=Weight.int4, activation=Activation.uint16)
    fitted = _db(model, lowered(Qdq(options), model, windows(draw, 24), tmp_path / "a"), held)
    monkeypatch.setattr("plugins.quantizer._onnx.qdq.static.round_weights", lambda *_: 0)
    nearest = _db(model, lowered(Qdq(options), model, windows(draw, 24), tmp_path / "b"), held)
    assert fitted > nearest - 0.3


@pytest.mark.parametrize(("length", "more"), [(1, 1), (1, 0), (2, 1)])
def test_a_part_that_is_cropped_away_has_no_rows(length: int, more: int, tmp_path: Path) -> None:
    """An up-sampling whose parts are cropped away quantises, on a length of 1 or 2."""
    node = helper.make_node(
        "ConvTranspose", ["x", "w"], ["y"], "layer", strides=[2], pads=[1, 1], output_padding=[more]
    )
    weights = np.random.default_rng(0).standard_normal((4, 4, 3))
    shape = [1, 4, length]
    model = graph([node], {"x": shape}, {"y": [1, 4, 2 * length - 1 + more]}, {"w": weights})
    given = windows(lambda random: {"x": random.standard_normal(shape)})
    made = lowered(Qdq(Qdq.Options()), model, given, tmp_path)
    assert worst_db(model, made, given) > 25


@EVERY_FORM
@pytest.mark.parametrize("weight", [Weight.int8, Weight.int4])
def test_related_inputs_lose_less(
    form: str, weight: Weight, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On windows outside the calibration, fitted integers err less than the nearest integers."""
    model, shape = layer(form), FORMS[form][1]
    given, held = related(shape, 12), related(shape, 4, seed=9)
    options = Qdq.Options(
        weight=weight, activation=Activation.uint16, method=Method.minmax, per_channel=True
    )
    fitted = _db(model, lowered(Qdq(options), model, given, tmp_path / "fitted"), held)
    monkeypatch.setattr("plugins.quantizer._onnx.qdq.static.round_weights", lambda *_: 0)
    nearest = _db(model, lowered(Qdq(options), model, given, tmp_path / "nearest"), held)
    assert fitted > nearest + (-0.5 if form == "transposed, gaps" else 1)


def test_few_rows_change_little() -> None:
    """Integers fitted to two samples of 64 numbers do not harm other samples."""
    random = np.random.default_rng(2)
    weights, scale = random.standard_normal((16, 64)), np.full(16, 0.05)
    few = random.standard_normal((2, 64))
    integers = rounded(weights, scale, np.zeros(16), (-128, 127), few.T @ few / 2, 2)
    nearest = np.rint(weights / scale[:, None])
    others = random.standard_normal((500, 64))

    def error(found: np.ndarray) -> float:
        return float(np.square(others @ (weights - found * scale[:, None]).T).mean())

    assert error(integers) < 1.25 * error(nearest)


@pytest.mark.parametrize("moments", [np.zeros((8, 8)), np.full((8, 8), np.inf), np.eye(8)])
def test_moments_that_say_nothing_give_the_nearest(moments: np.ndarray) -> None:
    """Silence, an overflow and uncorrelated inputs give the nearest integers."""
    weights = np.random.default_rng(3).standard_normal((4, 8))
    found = rounded(weights, np.full(4, 0.1), np.full(4, 3.0), (-128, 127), moments, 100)
    np.testing.assert_array_equal(found, np.rint(weights / 0.1) + 3)


def test_what_cannot_be_rounded_is_left() -> None:
    """A float graph without moments is left unchanged."""
    model = layer("conv")
    before = model.SerializeToString()
    assert round_weights(model, products_of(model), {}) == 0
    assert model.SerializeToString() == before


def test_huge_and_tiny_inputs_are_rounded_as_well(tmp_path: Path) -> None:
    """Inputs whose squares exceed the range of FP32 are fitted as well as others."""
    model, shape = layer("conv"), FORMS["conv"][1]
    for power, folder in ((1e25, "huge"), (1e-25, "tiny")):
        given = [{"x": w["x"] * np.float32(power)} for w in related(shape, 14)]
        options = Qdq.Options(activation=Activation.uint16, per_channel=True)
        made = lowered(Qdq(options), model, given[:12], tmp_path / folder)
        assert worst_db(model, made, given[12:]) > 45


def test_the_same_windows_give_the_same_integers(tmp_path: Path) -> None:
    """The same windows give the same integers, because one seed draws the places."""
    model, shape = layer("conv"), FORMS["conv"][1]
    given = related(shape, 8)
    found = []
    for folder in ("first", "second"):
        made = lowered(Qdq(Qdq.Options()), model, given, tmp_path / folder)
        constants = onnx.load(str(made.path)).graph.initializer
        found.append([numpy_helper.to_array(t).tobytes() for t in constants])
    assert found[0] == found[1]


def test_windows_of_several_lengths_are_calibrated_on(tmp_path: Path) -> None:
    """Windows of several lengths can be calibrated on.

    Places are drawn for the first window's lengths; other windows have fewer or more.
    """
    node = helper.make_node("Conv", ["x", "w"], ["y"], name="layer", pads=[1, 1])
    weights = np.random.default_rng(1).standard_normal((6, 8, 3))
    free = {"x": [1, 8, "time"]}
    model = graph([node], free, {"y": [1, 6, "time"]}, {"w": weights})
    given = [related([1, 8, length], 1, length)[0] for length in (64, 24, 96, 64, 3, 64, 64, 64)]
    made = lowered(Qdq(Qdq.Options(activation=Activation.uint16)), model, given, tmp_path)
    assert worst_db(model, made, given) > 40
