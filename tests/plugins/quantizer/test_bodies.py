"""Graphs inside nodes (If) read tensors of the outer graph that no list of inputs names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from plugins.quantizer.dynamic import Dynamic, DynamicOptions
from plugins.quantizer.fp16 import Fp16, Fp16Options
from plugins.quantizer.qdq import Activation, Layout, Qdq, QdqOptions
from tests.plugins.graphs import graph, lowered, windows, worst_db

CHANNELS, LENGTH = 8, 64
SHAPE = [1, CHANNELS, LENGTH]
LOUD = 20.0


def node(operator: str, inputs: str, output: str, **attributes: Any) -> onnx.NodeProto:
    """Return a node named after its output."""
    return helper.make_node(operator, inputs.split(), [output], f"make {output}", **attributes)


def body(
    nodes: list[onnx.NodeProto], constants: dict[str, float] | None = None, shape: Any = None
) -> onnx.GraphProto:
    """Return a graph without inputs, whose last node makes its output."""
    output = helper.make_tensor_value_info(
        nodes[-1].output[0], TensorProto.FLOAT, SHAPE if shape is None else shape
    )
    held = [numpy_helper.from_array(np.float32(v), n) for n, v in (constants or {}).items()]
    return helper.make_graph(nodes, "body", [], [output], held)


def branching(
    then: onnx.GraphProto,
    before: list[onnx.NodeProto],
    constants: dict[str, Any],
    *,
    otherwise: str = "h",
) -> onnx.ModelProto:
    """Return `If(max(x) > 0, then, otherwise)`, after the nodes that both branches read."""
    other = body([node("Identity", otherwise, "as it is")])
    nodes = [
        node("ReduceMax", "x", "loudest", keepdims=0),
        node("Greater", "loudest zero", "loud"),
        *before,
        node("If", "loud", "y", then_branch=then, else_branch=other),
    ]
    return graph(nodes, {"x": SHAPE}, {"y": SHAPE}, {"zero": 0.0, **constants})


def noise(gain: float = 1.0) -> list[dict[str, np.ndarray]]:
    """Return windows of noise."""
    return windows(lambda random: {"x": gain * random.standard_normal(SHAPE)})


def weights(*shape: int, gain: float = 0.3) -> np.ndarray:
    """Return normal weights."""
    return gain * np.random.default_rng(1).standard_normal(shape)


CONV = node("Conv", "x w", "h")
NORM = [node("Mul", "h h", "square"), node("ReduceMean", "square", "mean", keepdims=1)]
ROOT = node("Sqrt", "mean", "root")
FP16 = {
    "squares inside": branching(
        body([*NORM, ROOT, node("Div", "h root", "t")]), [CONV], {"w": weights(8, 8, 1, gain=10)}
    ),
    "constants inside": branching(
        body([node("Mul", "h big", "huge"), node("Mul", "huge tiny", "t")],
             {"big": 1e6, "tiny": 1e-6}),
        [CONV], {"w": weights(8, 8, 1)},
    ),
    "reads what stays in FP32": branching(
        body([node("Div", "h root", "t")]),
        [CONV, *NORM, ROOT], {"w": weights(8, 8, 1, gain=10)},
    ),
    "gives what passes FP16": branching(
        body([node("Mul", "h big", "t")], {"big": 3e4}), [CONV], {"w": weights(8, 8, 1)}
    ),
    "reads an input and weights": branching(
        body([node("Conv", "x w", "t")]), [CONV], {"w": weights(8, 8, 1)}
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", FP16)
@pytest.mark.parametrize("kept", [[], ["If"], ["Conv"]], ids=str)
def test_fp16_leaves_what_is_inside_in_fp32(name: str, kept: list[str], tmp_path: Path) -> None:
    """FP16 leaves the nodes inside an If in FP32, and a notice says so.

    The graph opens and keeps its SNR.
    """
    given = noise(LOUD)
    made = lowered(Fp16(Fp16Options(keep_float32=kept)), FP16[name], given, tmp_path)
    assert worst_db(FP16[name], made, given) > 65
    (notice,) = (n for n in made.notices if "inside" in n.text)
    assert "`" not in notice.text.replace("make y (If)", "")
    assert "make y (If)" in notice.text


def test_weights_that_a_body_reads_are_not_transposed_under_it(tmp_path: Path) -> None:
    """A Gemm gets a copy of weights that an inner graph reads too.

    ONNX Runtime transposes a Gemm's weights in place.
    """
    shape = [4, 16]
    same = body([node("MatMul", "x w", "t")], shape=shape)
    nodes = [
        node("Gemm", "x w", "h", transB=1),
        node("ReduceMax", "x", "loudest", keepdims=0),
        node("Greater", "loudest zero", "loud"),
        node("If", "loud", "z", then_branch=same, else_branch=same),
        node("Add", "h z", "y"),
    ]
    constants = {"zero": 0.0, "w": weights(16, 16)}
    model = graph(nodes, {"x": shape}, {"y": shape}, constants)
    given = windows(lambda random: {"x": random.standard_normal(shape)})
    made = lowered(Dynamic(DynamicOptions()), model, given, tmp_path)
    assert worst_db(model, made, given) > 35


def test_a_bias_that_a_body_reads_is_not_corrected(tmp_path: Path) -> None:
    """A bias that a float layer in an inner graph reads too is not corrected."""
    quiet = body([node("Conv", "x v b", "t")])
    model = branching(
        quiet, [CONV], {"w": weights(8, 8, 1), "v": weights(8, 8, 1) / 300, "b": weights(8) / 300}
    )
    model.graph.node[2].input.append("b")
    model.graph.output.append(helper.make_tensor_value_info("h", TensorProto.FLOAT, SHAPE))
    given = windows(lambda random: {"x": np.abs(random.standard_normal(SHAPE))})
    options = QdqOptions(layout=Layout.tensorrt, activation=Activation.int8, symmetric=True)
    made = lowered(Qdq(options), model, given, tmp_path)
    assert worst_db(model, made, given) > 30
