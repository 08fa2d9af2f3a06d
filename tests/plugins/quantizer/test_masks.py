"""Mask values are no signal; they are replaced by values as near as the outputs allow."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import helper, numpy_helper
from torch import nn
from torch.nn import functional

from core import (
    Calibration,
    Exporter,
    InputError,
    ModelInfo,
    Signature,
    StageError,
    TensorSpec,
    TorchModel,
)
from core.measure.metrics import snr_db
from plugins.exporter.onnx import Onnx
from plugins.exporter.onnx_dynamo import OnnxDynamo
from plugins.quantizer._onnx.graph.sentinels import far_out
from plugins.quantizer.fp16 import Fp16
from plugins.quantizer.mixed import Mixed
from plugins.quantizer.qdq import Activation, Method, Qdq
from tests.plugins.graphs import computed, graph, lowered, windows, worst_db
from tests.plugins.networks import artifact, outputs, played, separator, work_in

TOKENS, WIDTH = 16, 8
LATER = np.triu(np.ones((TOKENS, TOKENS)), 1)
LEAST = float(np.finfo(np.float32).min)
#: How a mask is applied to the scores, and its value.
WAYS = [
    *(("where", value) for value in (-np.inf, LEAST, -1e9, -1e4)),
    ("add", -np.inf),
    ("mul of a mask that is fed", LEAST),
    ("scatter", -1e9),
    ("made of a shape", -np.inf),
]


def attention(value: float, way: str = "where", *, scores: bool = False) -> onnx.ModelProto:
    """Return an attention that masks later positions with `value`, or returns masked scores."""
    random = np.random.default_rng(0)
    constants: dict[str, object] = {
        name: random.standard_normal((WIDTH, WIDTH)) / 3 for name in ("q", "k", "v")
    }
    inputs: dict[str, list[int | str]] = {"x": [TOKENS, WIDTH]}
    nodes = [
        helper.make_node("MatMul", ["x", "q"], ["queries"], name="queries"),
        helper.make_node("MatMul", ["x", "k"], ["keys"], name="keys"),
        helper.make_node("Transpose", ["keys"], ["turned"], name="turned", perm=[1, 0]),
        helper.make_node("MatMul", ["queries", "turned"], ["scores"], name="scores"),
    ]
    if way == "where":
        constants |= {"later": LATER > 0, "mask": np.float32(value)}
        nodes.append(helper.make_node("Where", ["later", "mask", "scores"], ["masked"], name="m"))
    elif way == "add":
        constants["mask"] = np.where(LATER > 0, value, 0)
        nodes.append(helper.make_node("Add", ["scores", "mask"], ["masked"], name="m"))
    elif way == "made of a shape":
        constants |= {"shape": np.array([TOKENS, TOKENS]), "one": np.array(1)}
        filled = numpy_helper.from_array(np.array([value], np.float32))
        nodes += [
            helper.make_node("ConstantOfShape", ["shape"], ["full"], name="full", value=filled),
            helper.make_node("Trilu", ["full", "one"], ["mask"], name="mask", upper=1),
            helper.make_node("Add", ["scores", "mask"], ["masked"], name="m"),
        ]
    elif way == "scatter":
        places = np.argwhere(LATER > 0)
        constants |= {"places": places, "mask": np.full(len(places), value)}
        nodes.append(
            helper.make_node("ScatterND", ["scores", "places", "mask"], ["masked"], name="m")
        )
    else:
        inputs["kept"] = [1, TOKENS]
        constants |= {"mask": np.float32(value), "one": np.float32(1)}
        nodes += [
            helper.make_node("Sub", ["one", "kept"], ["left"], name="left"),
            helper.make_node("Mul", ["left", "mask"], ["far"], name="far"),
            helper.make_node("Add", ["scores", "far"], ["masked"], name="m"),
        ]
    if scores:
        nodes[-1].output[0] = "y"
        return graph(nodes, inputs, {"y": [TOKENS, TOKENS]}, constants)
    nodes += [
        helper.make_node("Softmax", ["masked"], ["weights"], name="weights", axis=-1),
        helper.make_node("MatMul", ["x", "v"], ["values"], name="values"),
        helper.make_node("MatMul", ["weights", "values"], ["y"], name="y"),
    ]
    return graph(nodes, inputs, {"y": [TOKENS, WIDTH]}, constants)


def draw(count: int = 14) -> list[dict[str, np.ndarray]]:
    """Return windows of noise, with a mask for the graphs that take one."""
    return windows(
        lambda r: {
            "x": r.uniform(-2, 2, (TOKENS, WIDTH)),
            "kept": (np.arange(TOKENS) < r.integers(8, TOKENS))[None].astype(np.float32),
        },
        count,
    )


def fed(model: onnx.ModelProto, count: int = 14) -> list[dict[str, np.ndarray]]:
    """Return the windows of `draw` with the graph's inputs alone."""
    names = [value.name for value in model.graph.input]
    return [{name: window[name] for name in names} for window in draw(count)]


def _qdq(activation: Activation = Activation.uint8, **options: object) -> Qdq:
    return Qdq(Qdq.Options(activation=activation, method=Method.minmax, **options))


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0, -np.inf], [False, True]),
        ([-5, 3, -1e4, -np.inf], [False, False, False, True]),
        ([0, -1e9, -2e9], [False, True, True]),
        ([0, -100, 0.5], [False, True, False]),
        ([-100, -100], [True, True]),
        ([0, 1, 2, 30], [False] * 4),
        ([10, 30, 90, 250], [False] * 4),
        ([], []),
    ],
)
def test_a_gap_parts_sentinels_from_other_values(values: list[float], expected: list[bool]) -> None:
    """Infinities, and finite values four times as far out as all others, count as sentinels.

    Values that grow without a gap do not.
    """
    np.testing.assert_array_equal(far_out(np.array(values, np.float32)), expected)


@pytest.mark.parametrize(("way", "value"), WAYS)
def test_a_mask_costs_no_precision(way: str, value: float, tmp_path: Path) -> None:
    """A mask of any value and form costs no precision, in 8 and in 16 bits."""
    model = attention(value, way)
    given = fed(model)
    made = lowered(_qdq(), model, given[:12], tmp_path / "8")
    assert worst_db(model, made, given[12:]) > 24
    assert "mask with values too large" in made.notices[0].text
    wide = lowered(_qdq(Activation.uint16), model, given[:12], tmp_path / "16")
    assert worst_db(model, wide, given[12:]) > 35


@pytest.mark.parametrize("value", [-np.inf, LEAST])
def test_mixed_and_fp16_take_masks(value: float, tmp_path: Path) -> None:
    """With a mask, `mixed` still finds an assignment, and FP16 keeps no node in FP32."""
    model = attention(value)
    given = fed(model, 20)
    options = Mixed.Options(windows=15, held_windows=2, min_snr_db=27)
    mixed = lowered(Mixed(options), model, given[:18], tmp_path / "mixed")
    assert worst_db(model, mixed, given[18:]) > 24
    half = lowered(Fp16(Fp16.Options()), model, given[:8], tmp_path / "half")
    assert worst_db(model, half, given[18:]) > 55
    assert half.facts["kept_because"] == []
    assert [notice.severity for notice in half.notices] == ["info"]


def test_a_mask_that_fp16_holds_is_left_to_it(tmp_path: Path) -> None:
    """FP16 leaves a mask of -10,000 unchanged, because FP16 holds this number."""
    made = lowered(Fp16(Fp16.Options()), attention(-1e4), fed(attention(-1e4), 8), tmp_path)
    assert made.notices == ()


def test_a_constant_whose_size_matters_is_no_mask(tmp_path: Path) -> None:
    """A large constant that multiplies scores is no mask and keeps its value."""
    constants = {"hot": np.float32(100), "w": np.eye(4) / 100}
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["h"], name="h"),
        helper.make_node("Mul", ["h", "hot"], ["scores"], name="scores"),
        helper.make_node("Softmax", ["scores"], ["y"], name="y"),
    ]
    model = graph(nodes, {"x": [8, 4]}, {"y": [8, 4]}, constants)
    given = windows(lambda r: {"x": r.uniform(-1, 1, (8, 4))}, 10)
    made = lowered(_qdq(), model, given[:8], tmp_path)
    assert worst_db(model, made, given[8:]) > 30
    assert not any("mask" in notice.text for notice in made.notices)


def test_masked_scores_may_be_what_a_model_returns(tmp_path: Path) -> None:
    """Nodes with infinite outputs stay in float if the model returns them, and a notice says so."""
    model = attention(-np.inf, scores=True)
    given = fed(model)
    made = lowered(_qdq(), model, given[:12], tmp_path)
    (expected,), (actual,) = (computed(m, given[-1]) for m in (model, made.path))
    finite = np.isfinite(expected)
    np.testing.assert_array_equal(np.isfinite(actual), finite)
    assert snr_db(expected[finite], actual[finite]) > 30
    assert "1 node(s) stay in float" in made.notices[0].text
    assert "m (Where)" in made.notices[0].text


def test_what_a_graph_computes_of_infinities_stays_in_float(tmp_path: Path) -> None:
    """Nodes that compute infinities, such as the logarithm of a 0/1 mask, stay in float."""
    model = attention(-1.0, "mul of a mask that is fed")
    nodes = list(model.graph.node)
    at = next(i for i, node in enumerate(nodes) if node.name == "left")
    nodes[at : at + 2] = [helper.make_node("Log", ["kept"], ["far"], name="far")]
    constants = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    del constants["one"], constants["mask"]
    model = graph(
        nodes, {"x": [TOKENS, WIDTH], "kept": [1, TOKENS]}, {"y": [TOKENS, WIDTH]}, constants
    )
    given = fed(model)
    made = lowered(_qdq(), model, given[:12], tmp_path)
    assert worst_db(model, made, given[12:]) > 27
    assert "first in `far`: far (Log), m (Add), weights (Softmax)" in made.notices[0].text


def test_nodes_that_are_left_in_float_may_hold_infinities(tmp_path: Path) -> None:
    """An excluded node may hold infinities, without a notice, because it needs no range."""
    model = attention(-np.inf, scores=True)
    made = lowered(_qdq(exclude=["Where"]), model, fed(model)[:12], tmp_path)
    assert not any("infinities" in notice.text for notice in made.notices)


def test_a_row_that_is_masked_whole_is_refused_by_the_constant(tmp_path: Path) -> None:
    """A row that is masked whole gives NaN, and the error names the constant and the node."""
    model = attention(-np.inf)
    later = next(t for t in model.graph.initializer if t.name == "later")
    later.CopyFrom(numpy_helper.from_array(np.ones((TOKENS, TOKENS), bool), "later"))
    with pytest.raises(StageError, match="because of a constant of the model, `mask`") as caught:
        lowered(_qdq(), model, fed(model)[:12], tmp_path)
    assert "first NaN: weights (Softmax)" in caught.value.lines
    broken = attention(-1.0)
    value = next(t for t in broken.graph.initializer if t.name == "v")
    value.CopyFrom(numpy_helper.from_array(np.full((WIDTH, WIDTH), np.nan, np.float32), "v"))
    with pytest.raises(StageError, match="because of a constant of the model, `v`"):
        lowered(_qdq(), broken, fed(broken)[:12], tmp_path / "nan")


def test_a_graph_that_overflows_is_refused_by_the_first_tensor(tmp_path: Path) -> None:
    """A graph that overflows is refused by the first tensor that became infinite."""
    nodes = [
        helper.make_node("Exp", ["x"], ["huge"], name="exponential"),
        helper.make_node("Sub", ["huge", "huge"], ["y"], name="difference"),
    ]
    model = graph(nodes, {"x": [4]}, {"y": [4]}, {})
    given = [{"x": np.full(4, 200, np.float32)}] * 2
    with pytest.raises(StageError, match="first in the tensor `huge`") as caught:
        lowered(_qdq(), model, given, tmp_path)
    assert caught.value.what.startswith("the graph overflows on calibration data")
    assert "computed by: exponential (Exp), from finite values" in caught.value.lines


def test_an_infinity_that_is_absorbed_is_no_error(tmp_path: Path) -> None:
    """An infinity that later becomes finite, as in 1 / (1 + exp(200)), is no error."""
    constants = {"one": np.ones(8), "w": np.eye(8)}
    nodes = [
        helper.make_node("Exp", ["x"], ["huge"], name="huge"),
        helper.make_node("Add", ["huge", "one"], ["more"], name="more"),
        helper.make_node("Div", ["one", "more"], ["weight"], name="weight"),
        helper.make_node("MatMul", ["weight", "w"], ["y"], name="y"),
    ]
    model = graph(nodes, {"x": [1, 8]}, {"y": [1, 8]}, constants)
    given = windows(lambda r: {"x": r.choice([-200.0, 0.0, 1.0, 200.0], (1, 8))}, 10)
    made = lowered(_qdq(), model, given[:8], tmp_path)
    assert worst_db(model, made, given[8:]) > 30


def test_an_input_that_holds_infinities_is_refused_as_that(tmp_path: Path) -> None:
    """An infinity in an input is refused by the window's number and not blamed on the graph."""
    model = attention(-np.inf)
    given = fed(model, 3)
    given[1]["x"][0, 0] = -np.inf
    with pytest.raises(InputError, match="window 2 holds values that are not numbers"):
        lowered(_qdq(), model, given, tmp_path)


class _Causal(nn.Module):
    """Attention by PyTorch's own function, which makes the mask."""

    def __init__(self) -> None:
        super().__init__()
        self.query, self.key, self.value = (nn.Linear(WIDTH, WIDTH) for _ in range(3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Attend to earlier positions."""
        given = (layer(x)[:, None] for layer in (self.query, self.key, self.value))
        return functional.scaled_dot_product_attention(*given, is_causal=True)[:, 0]


@pytest.mark.parametrize(
    "exporter", [Onnx(Onnx.Options()), OnnxDynamo(OnnxDynamo.Options())], ids=lambda e: e.name
)
def test_causal_attention_of_pytorch_quantises(exporter: Exporter[Any], tmp_path: Path) -> None:
    """PyTorch's causal attention quantises after both exporters.

    The exporters make the mask from a shape alone.
    """
    torch.manual_seed(0)
    ends = [TensorSpec(name, ("token", "width"), (TOKENS, WIDTH)) for name in ("x", "y")]
    info = ModelInfo(Signature((ends[0],), (ends[1],)), ("x",), ("y",))
    model = TorchModel(info, _Causal().eval(), separator().reference)
    given = windows(lambda r: {"x": r.standard_normal((1, TOKENS, WIDTH))}, 14)
    source = artifact(exporter.run(model, given[0], work_in(tmp_path / "export")), info)
    calibration = Calibration(12, lambda: given[:12])
    made = artifact(_qdq().run(source, calibration, work_in(tmp_path / "qdq")), info)
    expected = outputs(model, given[-1])["y"]
    assert snr_db(expected, played(made, given[-1])["y"]) > 25
