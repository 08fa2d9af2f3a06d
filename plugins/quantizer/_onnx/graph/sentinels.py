"""Finds constants that a graph masks with: values so far out that only their distance counts.

A mask of attention adds -inf, the least float or -10,000 to scores, or replaces them by it, and a
softmax maps it to 0. No range holds -inf, and one that reaches -10,000 leaves a score of 5 no
step.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import onnx
    from numpy.typing import NDArray

__all__ = ["Sentinel", "endless_sources", "far_out", "sentinels_of"]

#: A value closer than this is no sentinel: a range that holds it still has small steps.
NEAREST = 32.0
#: How many times larger than any other value of its tensor a sentinel is.
GAP = 4.0
#: Operators that return values they read, in another shape, order or number.
MOVERS = frozenset({
    "DepthToSpace", "Expand", "Flatten", "Gather", "GatherElements", "GatherND", "Identity",
    "Reshape", "Slice", "SpaceToDepth", "Split", "Squeeze", "Tile", "Transpose", "Trilu",
    "Unsqueeze",
})  # fmt: skip
#: Operators that let a sentinel into a signal, by the operands that carry it.
MERGERS = {
    "Add": (0, 1),
    "Concat": tuple(range(64)),
    "Div": (0,),
    "Mul": (0, 1),
    "Pad": (2,),
    "ScatterElements": (0, 2),
    "ScatterND": (0, 2),
    "Sub": (0, 1),
    "Sum": tuple(range(64)),
    "Where": (1, 2),
}
#: Operators that treat all far values alike: their results tend to an end, or choose.
ABSORBERS = frozenset({
    "ArgMax", "ArgMin", "Clip", "Elu", "Exp", "GlobalMaxPool", "HardSigmoid", "Hardmax",
    "LogSoftmax", "Max", "MaxPool", "Min", "ReduceLogSumExp", "ReduceMax", "ReduceMin", "Relu",
    "Sigmoid", "Softmax", "Softplus", "Tanh", "TopK",
})  # fmt: skip


@dataclass(frozen=True)
class Sentinel:
    """A constant with values far out: `signs` has their signs and 0 elsewhere, `rest` the others.

    `peak` is the smallest magnitude of a value far out, infinite for infinities. `factors` are the
    tensors that it is multiplied with: a mask only where these are 0 and 1.
    """

    name: str
    signs: NDArray[Any]
    rest: NDArray[Any]
    peak: float
    factors: tuple[str, ...]


def far_out(values: NDArray[Any]) -> NDArray[Any]:
    """Return which of FP32 `values` are sentinels: infinities, and values beyond a wide gap.

    Only values beyond the outermost gap are; a tensor of one value has no other to compare with.
    """
    import numpy as np

    sizes = np.abs(values)
    endless = np.isinf(sizes)
    if endless.any() or not sizes.size or not sizes.max() >= NEAREST:
        return np.asarray(endless)
    if sizes.min() == sizes.max():
        return np.full(values.shape, True)
    known = np.unique(np.maximum(sizes, 1.0))
    gaps = np.flatnonzero((known[1:] >= GAP * known[:-1]) & (known[1:] >= NEAREST))
    if not gaps.size:
        return np.full(values.shape, False)
    return np.asarray(sizes >= known[gaps[-1] + 1])


def sentinels_of(model: onnx.ModelProto) -> list[Sentinel]:
    """Return the constants of `model` that enter a signal which an operator then absorbs.

    Expects lifted constants; a ConstantOfShape is one as well, since its shape may be free.
    """
    import numpy as np

    found = []
    for name, values in _constants(model):
        out = far_out(values)
        if not out.any():
            continue
        absorbed, factors = _fate(model, name)
        if absorbed:
            signs = np.asarray(np.where(out, np.sign(values), 0), np.float32)
            rest = np.asarray(np.where(out, 0, values), np.float32)
            peak = float(np.abs(values[out]).min())
            found.append(Sentinel(name, signs, rest, peak, factors))
    return found


def endless_sources(model: onnx.ModelProto) -> list[str]:
    """Return the constants of `model` that hold an infinity or a NaN."""
    import numpy as np

    return [name for name, values in _constants(model) if not np.isfinite(values).all()]


def _constants(model: onnx.ModelProto) -> Iterator[tuple[str, NDArray[Any]]]:
    """Yield the constants in FP32 with their values; that of a ConstantOfShape has one."""
    from onnx import TensorProto, numpy_helper

    for tensor in model.graph.initializer:
        if tensor.data_type == TensorProto.FLOAT:
            yield tensor.name, numpy_helper.to_array(tensor)
    for node in model.graph.node:
        if node.op_type == "ConstantOfShape":
            for attribute in node.attribute:
                if attribute.t.data_type == TensorProto.FLOAT:
                    yield node.output[0], numpy_helper.to_array(attribute.t)


def _fate(model: onnx.ModelProto, constant: str) -> tuple[bool, tuple[str, ...]]:
    """Return whether an operator absorbs what `constant` puts into a signal, and its factors."""
    moved, merged = {constant}, set[str]()
    factors: list[str] = []
    absorbed = False
    for node in model.graph.node:
        entering = [i for i, name in enumerate(node.input) if name in moved]
        inside = [i for i, name in enumerate(node.input) if name in merged]
        if not entering and not inside:
            continue
        absorbed |= bool(inside) and node.op_type in ABSORBERS
        if node.op_type in MOVERS:
            (merged if inside else moved).update(node.output)
        elif set(MERGERS.get(node.op_type, ())) & {*entering, *inside}:
            merged.update(node.output)
            if node.op_type == "Mul" and entering:
                factors += [name for i, name in enumerate(node.input) if i not in entering]
    return absorbed, tuple(factors)
