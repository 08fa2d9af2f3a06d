"""Bounds on the values of a graph's tensors, whatever its inputs, from the operators."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnx

    from plugins.quantizer._onnx.calibration.choose import Range

__all__ = ["ENDLESS", "value_bounds"]

#: The bounds of a tensor about which nothing is known.
ENDLESS: Range = (-math.inf, math.inf)
UNIT: Range = (0.0, 1.0)
NEVER_NEGATIVE: Range = (0.0, math.inf)

#: Operators whose results lie between these ends, whatever they read. GELU, SiLU and HardSwish
#: have their minima at -0.170, -0.279 and -0.375.
ALWAYS: Mapping[str, Range] = {
    **dict.fromkeys(("Sigmoid", "HardSigmoid", "Softmax"), UNIT),
    **dict.fromkeys(("Tanh", "Erf", "Sin", "Cos", "Softsign"), (-1.0, 1.0)),
    **dict.fromkeys(
        ("Abs", "Exp", "ReduceL1", "ReduceL2", "ReduceSumSquare", "Softplus", "Sqrt"),
        NEVER_NEGATIVE,
    ),
    "LogSoftmax": (-math.inf, 0.0),
    "Gelu": (-0.171, math.inf),
    "Swish": (-0.279, math.inf),
    "HardSwish": (-0.375, math.inf),
}
#: Operators that return values that they read, or means of these.
KEEPING = frozenset({
    "AveragePool", "DepthToSpace", "Expand", "Flatten", "Gather", "GatherElements", "GatherND",
    "GlobalAveragePool", "GlobalMaxPool", "Identity", "MaxPool", "ReduceMax", "ReduceMean",
    "ReduceMin", "Reshape", "Slice", "SpaceToDepth", "Split", "Squeeze", "Tile", "Transpose",
    "Unsqueeze",
})  # fmt: skip


def value_bounds(model: onnx.ModelProto) -> dict[str, Range]:
    """Return the bounds of every tensor that has a finite one, by interval arithmetic.

    Nodes are in an order in which they can be computed, as ONNX demands.
    """
    known = _constants(model)
    for node in model.graph.node:
        # An operand that is left out, such as a Clip's minimum, has the empty name.
        taken = [known.get(name, ENDLESS) for name in node.input]
        found = _given(node, taken)
        if found != ENDLESS:
            known.update(dict.fromkeys(filter(None, node.output), found))
    return known


def _constants(model: onnx.ModelProto) -> dict[str, Range]:
    from onnx import TensorProto, numpy_helper

    tensors = {tensor.name: tensor for tensor in model.graph.initializer}
    for node in model.graph.node:
        value = next((a.t for a in node.attribute if a.name == "value"), None)
        if node.op_type == "Constant" and value is not None:
            tensors[node.output[0]] = value
    found = {}
    for name, tensor in tensors.items():
        values = numpy_helper.to_array(tensor) if tensor.data_type == TensorProto.FLOAT else None
        if values is not None and values.size and not math.isnan(float(values.min())):
            found[name] = float(values.min()), float(values.max())
    return found


def _given(node: onnx.NodeProto, taken: Sequence[Range]) -> Range:
    """Return the bounds of a node's results, from those of its operands."""
    always = ALWAYS.get(node.op_type)
    if always is not None:
        return always
    if not taken:
        return ENDLESS
    if node.op_type in KEEPING:
        return taken[0]
    if node.op_type == "Clip":
        return _clip(node, taken)
    if node.op_type == "Mul" and node.input[0] == node.input[1]:
        return NEVER_NEGATIVE
    rule = RULES.get(node.op_type)
    if rule is None:
        return ENDLESS
    low, high = rule(taken)
    # Infinity minus infinity is NaN: nothing is known of the result.
    return ENDLESS if math.isnan(low) or math.isnan(high) else (low, high)


def _relu(taken: Sequence[Range]) -> Range:
    return max(0.0, taken[0][0]), max(0.0, taken[0][1])


def _clip(node: onnx.NodeProto, taken: Sequence[Range]) -> Range:
    """Return the bounds of a Clip, whose ends are operands, and attributes before opset 11."""
    given = {attribute.name: attribute.f for attribute in node.attribute}
    operands = [ends[place] for place, ends in enumerate(taken[1:3])]
    least, most = (*operands, *ENDLESS[len(operands) :])
    least, most = given.get("min", least), given.get("max", most)
    return min(max(taken[0][0], least), most), min(max(taken[0][1], least), most)


def _padded(taken: Sequence[Range]) -> Range:
    """Return the bounds of values among which there may be zeros, or copies."""
    return min(0.0, taken[0][0]), max(0.0, taken[0][1])


def _together(taken: Sequence[Range]) -> Range:
    return min(low for low, _ in taken), max(high for _, high in taken)


def _sum(taken: Sequence[Range]) -> Range:
    return sum(low for low, _ in taken), sum(high for _, high in taken)


def _difference(taken: Sequence[Range]) -> Range:
    (low, high), (less_low, less_high) = taken[:2]
    return low - less_high, high - less_low


def _product(taken: Sequence[Range]) -> Range:
    corners = [
        0.0 if 0.0 in (ours, theirs) else ours * theirs for ours in taken[0] for theirs in taken[1]
    ]
    return min(corners), max(corners)


def _least(taken: Sequence[Range]) -> Range:
    return min(low for low, _ in taken), min(high for _, high in taken)


def _most(taken: Sequence[Range]) -> Range:
    return max(low for low, _ in taken), max(high for _, high in taken)


RULES: Mapping[str, Callable[[Sequence[Range]], Range]] = {
    "Add": _sum,
    "Concat": _together,
    "Max": _most,
    "Min": _least,
    "Mul": _product,
    "Pad": _padded,
    "Relu": _relu,
    "Sub": _difference,
    "Sum": _sum,
}
