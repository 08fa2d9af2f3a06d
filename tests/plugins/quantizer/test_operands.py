"""Operands are signals that may be rounded or structure that must stay exact."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from plugins.quantizer._onnx.graph.operands import SIGNAL, captured, structural_nodes
from plugins.quantizer.qdq import Activation, Method, Qdq
from tests.plugins.graphs import computed, graph, lowered, windows, worst_db


def _node(operator: str, inputs: str, outputs: str, **attributes: object) -> onnx.NodeProto:
    """Return a node named after its first output."""
    name = outputs.split(maxsplit=1)[0]
    return helper.make_node(operator, inputs.split(), outputs.split(), name=name, **attributes)


def _absent(operator: str) -> bool:
    return not onnx.defs.has(operator)


def test_every_operator_of_the_table_is_one_of_the_standard() -> None:
    """Every operator of the table is in the ONNX standard.

    ONNX Runtime's own and operators newer than this onnx are exceptions.
    """
    contributed = {"FastGelu", "QuickGelu"}
    newest = onnx.defs.onnx_opset_version()
    absent = {name for name in SIGNAL if _absent(name)} - contributed
    assert absent <= ({"RMSNormalization", "SwiGLU", "Swish"} if newest < 28 else set())


def test_signal_operands_hold_floats() -> None:
    """By the standard, every signal operand of the table can be a float tensor."""
    for name in SIGNAL:
        if _absent(name):
            continue
        schema = onnx.defs.get_schema(name)
        for place, operand in enumerate(schema.inputs):
            if place in SIGNAL[name]:
                kinds = {operand.type_str}
                for constraint in schema.type_constraints:
                    if constraint.type_param_str == operand.type_str:
                        kinds = set(constraint.allowed_type_strs)
                assert "tensor(float)" in kinds, f"{name} {operand.name}"


def test_what_serves_as_structure_alone_is_found_to_its_beginning() -> None:
    """Nodes that compute indices alone are structural; layers and conditions are not."""
    model = graph(
        [
            _node("Mul", "x two", "places"),
            _node("Floor", "places", "whole"),
            _node("Cast", "whole", "indices", to=TensorProto.INT64),
            _node("Gather", "table indices", "found", axis=0),
            _node("MatMul", "found weights", "made"),
            _node("Greater", "made zero", "positive"),
            _node("Where", "positive made found", "y"),
        ],
        {"x": [4]},
        {"y": [4, 3]},
        {"two": 2.0, "zero": 0.0, "table": np.ones((8, 3)), "weights": np.ones((3, 3))},
    )
    assert structural_nodes(model) == {"places", "whole", "indices"}


def test_what_the_body_of_a_node_reads_is_found() -> None:
    """A tensor that only the inner graph of an If reads counts as read."""
    body = helper.make_graph(
        [helper.make_node("Neg", ["h"], ["inner"])],
        "body",
        [],
        [helper.make_tensor_value_info("inner", TensorProto.FLOAT, None)],
    )
    model = graph(
        [
            _node("Relu", "x", "h"),
            _node("If", "yes", "y", then_branch=body, else_branch=body),
        ],
        {"x": [4]},
        {"y": [4]},
        {"yes": np.array(True)},
    )
    assert captured(model) >= {"h"}


def _convolution(channels: int = 4) -> np.ndarray:
    return np.random.default_rng(0).standard_normal((channels, channels, 3)) / 3


@pytest.mark.parametrize("activation", [Activation.uint8, Activation.uint16])
@pytest.mark.parametrize(
    "case",
    ["constant node", "shared with a signal", "computed", "sizes of an old opset"],
)
def test_scales_of_a_resize_stay_as_they_are(
    case: str, activation: Activation, tmp_path: Path
) -> None:
    """The scales of a Resize stay exact, wherever they come from.

    Rounding made 1 into 0.996, and 4 channels into 3.
    """
    scales = np.array([1, 1, 2], np.float32)
    nodes = [_node("Conv", "x w", "h", pads=[1, 1])]
    constants: dict[str, object] = {"w": _convolution(), "none": np.zeros(0, np.float32)}
    if case == "constant node":
        nodes.append(_node("Constant", "", "scales", value_floats=scales.tolist()))
    elif case == "computed":
        constants |= {"half": scales / 2, "other": np.float32(2)}
        nodes.append(_node("Mul", "half other", "scales"))
    else:
        constants["scales"] = scales
    nodes.append(
        _node("Upsample", "h scales", "up")
        if case == "sizes of an old opset"
        else _node("Resize", "h none scales", "up", mode="nearest")
    )
    last = "up"
    if case == "shared with a signal":
        constants["axes"] = np.array([0], np.int64)
        nodes.append(_node("ReduceMax", "scales", "most", keepdims=0))
        nodes.append(_node("Mul", "up most", "loud"))
        nodes.append(_node("Add", "loud scales_", "louder"))
        constants["scales_"] = np.float32(0)
        last = "louder"
    nodes.append(_node("Conv", f"{last} w", "y", pads=[1, 1]))
    opset = 9 if case == "sizes of an old opset" else 20
    model = graph(nodes, {"x": [1, 4, 16]}, {"y": [1, 4, 32]}, constants, opset)
    draw = windows(lambda r: {"x": r.uniform(-1, 1, (1, 4, 16))}, 12)
    options = Qdq.Options(activation=activation, method=Method.minmax)
    made = lowered(Qdq(options), model, draw[:10], tmp_path)
    assert worst_db(model, made, draw[10:]) > (25 if activation is Activation.uint8 else 35)


def test_places_that_are_computed_stay_exact(tmp_path: Path) -> None:
    """Computed indices into 200 rows stay exact; in 8 bits they would point to other rows."""
    table = np.random.default_rng(1).standard_normal((200, 8))
    model = graph(
        [
            _node("Mul", "x scale", "places"),
            _node("Cast", "places", "indices", to=TensorProto.INT64),
            _node("Gather", "table indices", "rows", axis=0),
            _node("MatMul", "rows w", "y"),
        ],
        {"x": [16]},
        {"y": [16, 8]},
        {"scale": np.float32(199), "table": table, "w": table[:8]},
    )
    draw = windows(lambda r: {"x": r.random(16)}, 12)
    made = lowered(Qdq(Qdq.Options(method=Method.minmax)), model, draw[:10], tmp_path)
    assert worst_db(model, made, draw[10:]) > 30


def test_a_power_keeps_its_exponent(tmp_path: Path) -> None:
    """A Pow keeps its exponent: 2.0000002 instead of 2 gives NaN for a negative base."""
    model = graph(
        [_node("Pow", "x exponent", "h"), _node("MatMul", "h w", "y")],
        {"x": [2, 4]},
        {"y": [2, 4]},
        {"exponent": np.float32(2), "w": _convolution()[:, :, 0]},
    )
    draw = windows(lambda r: {"x": r.uniform(-1, 1, (2, 4))}, 12)
    made = lowered(Qdq(Qdq.Options(method=Method.minmax)), model, draw[:10], tmp_path)
    assert worst_db(model, made, draw[10:]) > 25
    (power,) = (n for n in onnx.load(made.path).graph.node if n.op_type == "Pow")
    assert power.input[1] == "exponent"


def test_a_clip_that_a_range_does_not_imply_stays(tmp_path: Path) -> None:
    """A Clip to at least 0.25 stays, because a range always holds 0; an implied Clip is removed."""
    model = graph(
        [_node("Clip", "x least", "c"), _node("Div", "one c", "y")],
        {"x": [1, 64]},
        {"y": [1, 64]},
        {"least": np.float32(0.25), "one": np.ones((1, 64))},
    )
    draw = windows(lambda r: {"x": r.uniform(-1, 1, (1, 64))}, 12)
    made = lowered(Qdq(Qdq.Options(method=Method.minmax)), model, draw[:10], tmp_path)
    assert worst_db(model, made, draw[10:]) > 30
    assert "Clip" in {node.op_type for node in onnx.load(made.path).graph.node}
    implied = graph(
        [_node("Add", "x one", "h"), _node("Clip", "h zero most", "c"), _node("Add", "c one", "y")],
        {"x": [1, 64]},
        {"y": [1, 64]},
        {"zero": np.float32(0), "most": np.float32(1), "one": np.ones((1, 64))},
    )
    made = lowered(Qdq(Qdq.Options(method=Method.minmax)), implied, draw[:10], tmp_path / "implied")
    assert worst_db(implied, made, draw[10:]) > 30
    assert "Clip" not in {node.op_type for node in onnx.load(made.path).graph.node}


def test_an_output_of_a_made_graph_is_what_the_float_graph_has(tmp_path: Path) -> None:
    """A graph whose outputs are an input, a constant and a product keeps all three outputs."""
    model = graph(
        [
            _node("Identity", "x", "same"),
            _node("Constant", "", "fixed", value_floats=[1.0, 2.0]),
            _node("MatMul", "x w", "y"),
        ],
        {"x": [2, 4]},
        {"same": [2, 4], "fixed": [2], "y": [2, 4]},
        {"w": _convolution()[:, :, 0]},
    )
    draw = windows(lambda r: {"x": r.uniform(-1, 1, (2, 4))}, 12)
    made = lowered(Qdq(Qdq.Options(method=Method.minmax)), model, draw[:10], tmp_path)
    assert worst_db(model, made, draw[10:]) > 30
    assert len(computed(made.path, draw[0])) == 3
