"""Tells which operands of an operator are signal, and may be rounded; all others are structure.

A structural operand says how to compute: a scale of Resize, an end of Range, a box, an exponent.
Rounded to 8 bits, a scale of 1 becomes 0.996, and 8 channels times that are 7. The table below
lists what may be rounded, for the operators of the ONNX standard up to opset 28 by their names: an
operator that it lacks stays in float, as does every operand that it does not name.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnx

__all__ = [
    "SIGNAL",
    "captured",
    "is_signal",
    "read_inside",
    "scatters_sums",
    "structural_nodes",
    "subgraphs",
]

FIRST = frozenset({0})
#: Every operand of an operator that takes any number of them.
ALL = frozenset(range(2**12))


def _places(*rows: tuple[str, frozenset[int]]) -> dict[str, frozenset[int]]:
    return {name: places for names, places in rows for name in names.split()}


#: The operands that are signal. Operators not listed stay in float: those that cut to integers or
#: compare for equality (a rounded value falls on the other side), have a pole at the end of their
#: domain (Acos of 1 and a rounding is NaN), make numbers, find boxes, or are control flow.
SIGNAL = _places(
    ("Add Concat Div Einsum MatMul Max Mean Min Mul PRelu Sub Sum SwiGLU", ALL),
    ("Greater GreaterOrEqual Less LessOrEqual", ALL),
    ("Conv ConvTranspose Gemm", frozenset({0, 1, 2})),
    ("BatchNormalization GroupNormalization InstanceNormalization", frozenset({0, 1, 2})),
    ("LayerNormalization RMSNormalization", frozenset({0, 1, 2})),
    ("LSTM", frozenset({0, 1, 2, 3, 5, 6, 7})),
    ("GRU RNN", frozenset({0, 1, 2, 3, 5})),
    ("Pad Scatter ScatterElements ScatterND", frozenset({0, 2})),
    ("Where", frozenset({1, 2})),
    ("LRN LpNormalization MeanVarianceNormalization", FIRST),
    ("Abs Atan Celu Clip Cos Cosh CumSum Elu Erf Exp FastGelu Gelu HardSigmoid HardSwish", FIRST),
    ("LeakyRelu Log LogSoftmax Mish Neg Pow QuickGelu Reciprocal Relu Selu Shrink Sigmoid", FIRST),
    ("Sin Sinh Softmax Softplus Softsign Sqrt Swish Tanh ThresholdedRelu", FIRST),
    ("AveragePool GlobalAveragePool GlobalLpPool GlobalMaxPool LpPool MaxPool", FIRST),
    ("ArgMax ArgMin ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax", FIRST),
    ("ReduceMean ReduceMin ReduceProd ReduceSum ReduceSumSquare TopK", FIRST),
    ("CenterCropPad Compress DepthToSpace Expand Flatten Gather GatherElements GatherND", FIRST),
    ("GridSample Identity Reshape Resize ReverseSequence Slice SpaceToDepth Split", FIRST),
    ("Squeeze Tile Transpose Trilu Unsqueeze Upsample", FIRST),
)
#: Operands of operators in float that are structure, whatever reads the result.
STRUCTURE = _places(
    ("NonMaxSuppression OneHot Range", ALL),
    ("DeformConv MaxRoiPool", frozenset({1})),
    ("Dropout RoiAlign", frozenset({1, 2})),
)
#: Operands that are true or false. They choose between signals, and are part of none.
CONDITIONS = _places(("Where", FIRST), ("Compress", frozenset({1})), ("If", FIRST))
#: Operators that a network consists of. If one computes structure (a grid to sample at), that is
#: rounded like its other results: else all nodes before it would have to stay in float as well.
LAYERS = frozenset({
    "Attention", "BatchNormalization", "Conv", "ConvTranspose", "Einsum", "GRU", "Gemm",
    "GroupNormalization", "InstanceNormalization", "LSTM", "LayerNormalization", "MatMul",
    "RMSNormalization", "RNN", "Softmax",
})  # fmt: skip


def is_signal(node: onnx.NodeProto, place: int) -> bool:
    """Return whether the operand at `place` may be rounded."""
    return place in SIGNAL.get(node.op_type, ())


def structural_nodes(model: onnx.ModelProto) -> set[str]:
    """Return the names of the nodes whose results serve only as structure of others.

    They compute shapes, places and indices in float (`Cast` at the end), and must stay exact.
    """
    graph = model.graph
    ends = {value.name for value in graph.output} | captured(model)
    readers: dict[str, list[tuple[onnx.NodeProto, int]]] = {}
    for node in graph.node:
        for place, name in enumerate(node.input):
            readers.setdefault(name, []).append((node, place))
    found: set[str] = set()
    for node in reversed(graph.node):
        if node.op_type in LAYERS or list(subgraphs(node)):
            continue
        results = [name for name in node.output if readers.get(name) or name in ends]
        if results and all(
            name not in ends
            and all(_is_structure(reader, place, found) for reader, place in readers[name])
            for name in results
        ):
            found.add(node.name)
    return found


def _is_structure(node: onnx.NodeProto, place: int, found: set[str]) -> bool:
    """Return whether the operand at `place` is structure; `found` are nodes that make only such."""
    if node.name in found:
        return True
    if place in CONDITIONS.get(node.op_type, ()):
        return False
    if node.op_type in SIGNAL:
        return place not in SIGNAL[node.op_type]
    return place in STRUCTURE.get(node.op_type, ())


def captured(model: onnx.ModelProto) -> set[str]:
    """Return the tensors that graphs inside of nodes (bodies of If, Loop, Scan) read from here."""
    return {name for node in model.graph.node for name in read_inside(node)}


def read_inside(node: onnx.NodeProto) -> set[str]:
    """Return the tensors that the graphs inside of one node read from outside of them."""
    read: set[str] = set()
    made = {""}
    for graph in subgraphs(node):
        read |= {name for inner in graph.node for name in inner.input}
        read |= {value.name for value in graph.output}
        made |= {name for inner in graph.node for name in inner.output}
        made |= {value.name for value in (*graph.input, *graph.initializer)}
    return read - made


def subgraphs(node: onnx.NodeProto) -> Iterator[onnx.GraphProto]:
    """Yield the graphs inside of a node, and those inside of these."""
    for attribute in node.attribute:
        graphs: Iterable[onnx.GraphProto] = (
            [attribute.g] if attribute.type == attribute.GRAPH else attribute.graphs
        )
        for graph in graphs:
            yield graph
            for inner in graph.node:
                yield from subgraphs(inner)


def scatters_sums(node: onnx.NodeProto) -> bool:
    """Return whether a node reduces the values that it scatters to one place."""
    return node.op_type in ("ScatterElements", "ScatterND") and any(
        attribute.name == "reduction" and attribute.s != b"none" for attribute in node.attribute
    )
