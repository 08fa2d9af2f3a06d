"""Hides operands and nodes from ONNX Runtime's quantiser that it would round or remove.

The quantiser rounds a tensor for all its readers, and an operator without a rule with all its
operands. So it rounds the scales of Resize with a signal that they share a constant with.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

from plugins.quantizer._onnx.graph.operands import captured, is_signal

if TYPE_CHECKING:
    import onnx

    from plugins.quantizer._onnx.calibration.choose import Range

__all__ = ["KEPT", "Hidden"]

#: The name that hides an operator that must not be removed: one without a rule is kept.
KEPT = {"Clip": "Clip, kept", "Relu": "Relu, kept"}


class Hidden:
    """Hides the structural operands of a graph, and the nodes that only cut a signal."""

    def __init__(
        self,
        model: onnx.ModelProto,
        included: Collection[str],
        ranges: Mapping[str, Range],
        exact: Collection[str],
    ) -> None:
        """Hide in place; nodes whose names are not `included` compute in float.

        `exact` are tensors that those nodes read unrounded, though other nodes read them rounded.
        """
        self._graph = model.graph
        self._constants = {tensor.name: tensor for tensor in model.graph.initializer}
        self._operands: dict[tuple[str, int], str] = {}
        for node in self._graph.node:
            for place, name in enumerate(node.input):
                signal = node.name in included and is_signal(node, place)
                kept = node.name in included or name in self._constants or name in exact
                if name and not signal and kept:
                    self._operands[node.name, place] = name
                    node.input[place] = ""
        elsewhere = {*self._operands.values(), *captured(model)}
        for node in self._graph.node:
            if node.op_type in KEPT and (
                node.input[0] in elsewhere or not self._is_implied(node, ranges)
            ):
                node.op_type = KEPT[node.op_type]

    def restore(self) -> None:
        """Restore everything in the graph, which is quantised by now."""
        names = {kept: name for name, kept in KEPT.items()}
        held = {tensor.name for tensor in self._graph.initializer}
        for node in self._graph.node:
            node.op_type = names.get(node.op_type, node.op_type)
            for place in range(len(node.input)):
                name = self._operands.get((node.name, place))
                if name is None:
                    continue
                node.input[place] = name
                if name in self._constants and name not in held:
                    held.add(name)
                    self._graph.initializer.append(self._constants[name])

    def _is_implied(self, node: onnx.NodeProto, ranges: Mapping[str, Range]) -> bool:
        """Return whether the range of its result cuts a signal as the node does.

        ONNX Runtime removes every Relu and Clip between integers. But a range always holds 0, which
        a Clip from 1e-5 must not let through to a division, and may reach farther than a Clip.
        """
        if node.op_type == "Relu" or node.output[0] not in ranges:
            return True
        least, most = (self._bound(node, place) for place in (1, 2))
        if least is None or most is None:
            return False
        low, high = ranges[node.output[0]]
        return least <= min(low, 0.0) and max(high, 0.0) <= most

    def _bound(self, node: onnx.NodeProto, place: int) -> float | None:
        """Return an end of a Clip, infinite where it has none, and None for a computed one."""
        from onnx import numpy_helper

        name = ("", "min", "max")[place]
        for attribute in node.attribute:  # before opset 11
            if attribute.name == name:
                return float(attribute.f)
        operand = self._operands.get((node.name, place), "")
        if not operand:
            return (-math.inf, math.inf)[place - 1]
        if operand not in self._constants:
            return None
        return float(numpy_helper.to_array(self._constants[operand]).item())
