"""Finds where rounding would reach the logarithm of zero, or nearly so.

A spectrum in decibels, log(sqrt(re² + im²) + 1e-3), takes the logarithm of a value that is never 0
in float. But a square is 60 dB smaller where the signal is 30 dB weaker, and every range holds 0:
16 bits left 13 dB of such a spectrum, and 40 dB and more where these few nodes stay in float.
Divisions by such a value stay as they are: norms divide, in nearly every network, and hardly ever
lose by it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

from plugins.quantizer._onnx.graph.operands import LAYERS

if TYPE_CHECKING:
    import onnx

    from plugins.quantizer._onnx.calibration.choose import Range

__all__ = ["near_poles"]

#: The smallest value seen must be at least so many steps from 0: then it errs by an eighth.
STEPS = 4.0
SUMS = frozenset({
    "Add", "AveragePool", "GlobalAveragePool", "Mean", "ReduceL1", "ReduceL2", "ReduceMean",
    "ReduceSum", "ReduceSumSquare", "Sum",
})  # fmt: skip


def near_poles(
    model: onnx.ModelProto,
    included: Collection[str],
    seen: Mapping[str, Range],
    steps: Mapping[str, float],
) -> dict[str, str]:
    """Return the nodes to keep in float, by name, with the tensor that must not be rounded there.

    They are the logarithms, and the nodes that lead there from a signal of both signs or a layer;
    `seen` are extremes, `steps` the distances between the values of an integer, by tensor.
    """
    made_by = {name: node for node in model.graph.node for name in node.output}
    found: dict[str, str] = {}
    for node in model.graph.node:
        if node.op_type != "Log" or node.name not in included:
            continue
        chain = {node.name: node.input[0]}
        # In a sum, the smallest value of an operand does not matter by itself.
        waiting, alone = [node.input[0]], {node.input[0]}
        while waiting:
            name = waiting.pop()
            maker = made_by.get(name)
            if maker is None or maker.name in chain or maker.op_type in LAYERS:
                continue
            chain[maker.name] = name
            operands = [operand for operand in maker.input if _has_one_sign(operand, seen)]
            waiting += operands
            if name in alone and maker.op_type not in SUMS:
                alone.update(operands)
        if any(0 < _least(name, seen) < STEPS * steps.get(name, 0.0) for name in alone):
            found |= chain
    return found


def _least(tensor: str, seen: Mapping[str, Range]) -> float:
    """Return the smallest magnitude of a tensor that is never 0, and 0 for any other."""
    low, high = seen.get(tensor, (0.0, 0.0))
    return max(low, -high, 0.0)


def _has_one_sign(tensor: str, seen: Mapping[str, Range]) -> bool:
    low, high = seen.get(tensor, (-1.0, 1.0))
    return low >= 0 or high <= 0
