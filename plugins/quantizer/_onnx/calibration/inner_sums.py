"""Shows the sums inside reductions and norms, which no tensor of the graph holds.

A few more nodes, the same in every opset, compute the sum of each such node.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import onnx

__all__ = ["OPAQUE", "SumProbe", "probe_of"]

#: Operators whose inner sums are not probed.
OPAQUE = frozenset({"LpNormalization", "MeanVarianceNormalization", "RMSNormalization"})
#: Operators that sum along axes of their own: run again on magnitudes.
MAGNITUDES = frozenset({"ReduceMean", "ReduceSum", "ReduceLogSum"})
OTHERS = frozenset({"ReduceL1", "ReduceL2", "ReduceSumSquare", "ReduceLogSumExp"})
#: The epsilon of a norm that names none, by the ONNX standard.
EPSILON = 1e-5

Reading = tuple[int, float, float]


@dataclass(frozen=True)
class SumProbe:
    """Nodes that show the sum inside `node`, their outputs, and how these are read.

    `read` returns how many terms are summed, the largest sum of their magnitudes (or squares),
    and the smallest variance with its epsilon (infinite for what is no norm).
    """

    node: str
    nodes: list[onnx.NodeProto]
    outputs: list[str]
    read: Callable[[Sequence[Any]], Reading]


def probe_of(node: onnx.NodeProto) -> SumProbe | None:
    """Return the probe of the sum inside `node`; None where it sums nothing."""
    if node.op_type in MAGNITUDES | OTHERS:
        return _reduction(node)
    if node.op_type in ("Softmax", "LogSoftmax"):
        return _softmax(node)
    if node.op_type == "LayerNormalization":
        return _layer_norm(node)
    if node.op_type in ("InstanceNormalization", "GroupNormalization"):
        return _pooled_norm(node)
    return None


def _reduction(node: onnx.NodeProto) -> SumProbe:
    import numpy as np
    from onnx import helper

    inner, total = f"sum.in.{node.name}", f"sum.{node.name}"
    own = type(node)()
    own.CopyFrom(node)
    own.name, own.output[:] = "", [total]
    nodes = [own]
    if node.op_type in MAGNITUDES:
        nodes.insert(0, helper.make_node("Abs", [node.input[0]], [inner]))
        own.input[0] = inner
    nodes += _sizes(node.input[0], total, node.name)

    def read(values: Sequence[Any]) -> Reading:
        result = np.asarray(values[0], np.float64)
        terms = _terms(values)
        with np.errstate(over="ignore"):  # a sum beyond all bounds is one that overflows
            if node.op_type == "ReduceMean":
                result = result * terms
            elif node.op_type == "ReduceL2":
                result = result**2
            elif node.op_type in ("ReduceLogSum", "ReduceLogSumExp"):
                result = np.exp(result)
        return terms, float(result.max(initial=0.0)), np.inf

    return SumProbe(node.name, nodes, [total, *_names(node.name)], read)


def _softmax(node: onnx.NodeProto) -> SumProbe:
    """A softmax sums exponentials of at most 1 along its axis: so many terms, so large a sum."""
    import numpy as np
    from onnx import helper

    axis = next((a.i for a in node.attribute if a.name == "axis"), -1)
    place = f"sum.{node.name}"
    nodes = [helper.make_node("ArgMax", [node.input[0]], [place], axis=axis)]
    nodes += _sizes(node.input[0], place, node.name)

    def read(values: Sequence[Any]) -> Reading:
        terms = _terms([None, *values])
        return terms, float(terms), np.inf

    return SumProbe(node.name, nodes, _names(node.name), read)


def _layer_norm(node: onnx.NodeProto) -> SumProbe:
    import numpy as np

    mean, inverse = f"sum.{node.name}", f"sum.inverse.{node.name}"
    own = type(node)()
    own.CopyFrom(node)
    own.name, own.output[:] = "", [f"sum.out.{node.name}", mean, inverse]
    nodes = [own, *_sizes(node.input[0], mean, node.name)]

    def read(values: Sequence[Any]) -> Reading:
        means, deviations = (np.asarray(values[i], np.float64) for i in (0, 3))
        terms = _terms(values)
        variance = 1 / deviations**2
        squares = (variance + means**2) * terms
        return terms, float(squares.max()), float(variance.min())

    return SumProbe(node.name, nodes, [mean, *_names(node.name), inverse], read)


def _pooled_norm(node: onnx.NodeProto) -> SumProbe:
    """Pool `(batch, group, everything else)`: an instance norm has a group for every channel."""
    import numpy as np
    from onnx import helper, numpy_helper

    named = {a.name: a for a in node.attribute}
    groups = named["num_groups"].i if "num_groups" in named else 0  # 0: as many as channels
    epsilon = named["epsilon"].f if "epsilon" in named else EPSILON
    shape, flat = f"sum.shape.{node.name}", f"sum.flat.{node.name}"
    norm, mean = f"sum.{node.name}", f"sum.mean.{node.name}"
    wanted = numpy_helper.from_array(np.array([0, groups, -1], np.int64))
    nodes = [
        helper.make_node("Constant", [], [shape], value=wanted),
        helper.make_node("Reshape", [node.input[0], shape], [flat]),
        helper.make_node("GlobalLpPool", [flat], [norm], p=2),
        helper.make_node("GlobalAveragePool", [flat], [mean]),
        *_sizes(flat, norm, node.name),
    ]

    def read(values: Sequence[Any]) -> Reading:
        norms, means = (np.asarray(values[i], np.float64) for i in (0, 3))
        terms = _terms(values)
        variance = np.maximum(norms**2 / terms - means**2, 0.0) + epsilon
        return terms, float((norms**2).max()), float(variance.min())

    return SumProbe(node.name, nodes, [norm, *_names(node.name), mean], read)


def _sizes(source: str, result: str, name: str) -> list[onnx.NodeProto]:
    from onnx import helper

    return [
        helper.make_node("Size", [tensor], [size])
        for tensor, size in zip((source, result), _names(name), strict=True)
    ]


def _names(name: str) -> list[str]:
    return [f"sum.from.{name}", f"sum.to.{name}"]


def _terms(values: Sequence[Any]) -> int:
    """Return how many values are summed to one, from the sizes of the tensors read and written."""
    return int(values[1]) // max(1, int(values[2]))
