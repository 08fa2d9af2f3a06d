"""Every form of a Gemm is made plain with the same result, and quantises like a product."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper

from plugins.quantizer._onnx.graph.gemms import plain_gemms
from plugins.quantizer.dynamic import Dynamic
from plugins.quantizer.qdq import Activation, Layout, Method, Qdq
from tests.plugins.graphs import computed, graph, lowered, windows, worst_db

ROWS, DEPTH, COLUMNS = 3, 32, 10
#: Shapes of a Gemm's bias: all that ONNX broadcasts to (rows, columns).
SHAPES = [(), (1,), (1, 1), (COLUMNS,), (1, COLUMNS), (ROWS, 1), (ROWS, COLUMNS)]


def gemm(
    shape: tuple[int, ...] | None, *, computed_bias: bool = False, **attributes: float
) -> onnx.ModelProto:
    """Return a graph of one Gemm with a bias of `shape`; with None it has no bias."""
    random = np.random.default_rng(0)
    weights = random.standard_normal((DEPTH, COLUMNS)) / 6
    constants = {"w": weights.T if attributes.get("transB") else weights}
    operands, nodes = ["x", "w"], []
    if shape is not None:
        constants["c"] = random.standard_normal(shape)
        operands.append("c")
        if computed_bias:
            constants["two"] = np.float32(2)
            nodes.append(helper.make_node("ReduceMean", ["x"], ["mean"], name="mean", keepdims=0))
            nodes.append(helper.make_node("Add", ["c", "mean"], ["made"], name="made"))
            operands[2] = "made"
    nodes.append(helper.make_node("Gemm", operands, ["y"], name="gemm", **attributes))
    return graph(nodes, {"x": [ROWS, DEPTH]}, {"y": [ROWS, COLUMNS]}, constants)


def _draw(count: int = 12) -> list[dict[str, np.ndarray]]:
    return windows(lambda r: {"x": r.uniform(-1, 1, (ROWS, DEPTH))}, count)


FORMS = [
    *({"shape": shape} for shape in SHAPES),
    {"shape": None},
    {"shape": (1, COLUMNS), "alpha": 0.5, "beta": 3.0, "transB": 1},
    {"shape": (ROWS, 1), "alpha": 2.0, "beta": -1.0},
    {"shape": (COLUMNS,), "beta": 0.0},
    {"shape": (1, COLUMNS), "computed_bias": True},
    {"shape": (), "computed_bias": True, "alpha": 0.5, "beta": 4.0},
]


@pytest.mark.parametrize("form", FORMS, ids=str)
def test_a_plain_gemm_computes_the_same(form: dict[str, object]) -> None:
    """A plain Gemm computes the same and has at most a bias of one value per column."""
    model = gemm(**form)  # type: ignore[arg-type]
    before = [computed(model, window) for window in _draw(3)]
    plain = plain_gemms(model)
    onnx.checker.check_model(plain, full_check=True)
    for window, expected in zip(_draw(3), before, strict=True):
        np.testing.assert_allclose(computed(plain, window)[0], expected[0], rtol=1e-5, atol=1e-5)
    (made,) = (node for node in plain.graph.node if node.op_type == "Gemm")
    assert not {"alpha", "beta"} & {attribute.name for attribute in made.attribute}
    shapes = {tensor.name: list(tensor.dims) for tensor in plain.graph.initializer}
    assert all(shapes[name] == [COLUMNS] for name in made.input[2:])


@pytest.mark.parametrize("per_channel", [True, False])
@pytest.mark.parametrize("form", FORMS, ids=str)
def test_every_form_quantises(form: dict[str, object], per_channel: bool, tmp_path: Path) -> None:
    """Every form of a Gemm quantises.

    Once a bias of one row crashed with scales per channel, and factors were lost.
    """
    model = gemm(**form)  # type: ignore[arg-type]
    draw = _draw()
    options = Qdq.Options(per_channel=per_channel, method=Method.minmax)
    assert worst_db(model, lowered(Qdq(options), model, draw[:10], tmp_path), draw[10:]) > 28


@pytest.mark.parametrize("layout", [Layout.cpu, Layout.tensorrt])
@pytest.mark.parametrize("shape", SHAPES)
def test_every_layout_takes_every_bias(
    shape: tuple[int, ...], layout: Layout, tmp_path: Path
) -> None:
    """The layouts `cpu` and `tensorrt` quantise a Gemm with a bias of every shape."""
    model = gemm(shape)
    signed = {"activation": Activation.int8, "symmetric": True}
    options = Qdq.Options(
        per_channel=True,
        layout=layout,
        method=Method.minmax,
        **(signed if layout is Layout.tensorrt else {}),
    )
    made = lowered(Qdq(options), model, _draw()[:10], tmp_path)
    assert worst_db(model, made, _draw()[10:]) > 30


@pytest.mark.parametrize("form", FORMS, ids=str)
def test_every_form_quantises_dynamically(form: dict[str, object], tmp_path: Path) -> None:
    """Every form of a Gemm quantises dynamically, with over 30 dB SNR."""
    model = gemm(**form)  # type: ignore[arg-type]
    made = lowered(Dynamic(Dynamic.Options()), model, (), tmp_path)
    assert worst_db(model, made, _draw()) > 30
