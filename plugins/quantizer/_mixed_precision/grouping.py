"""Cuts a graph into groups of nodes that share a precision: by layer, or by block."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from core.formats.precision_census import MULTIPLYING, macs_by_node

if TYPE_CHECKING:
    import onnx

__all__ = ["Group", "GroupBy", "groups_of"]


class GroupBy(Enum):
    """Which nodes share a precision."""

    layer = "layer"
    block = "block"


@dataclass(frozen=True)
class Group:
    """Nodes that share a precision; named after the first of them that multiplies, or their block.

    `macs` are their multiply-accumulates for one window.
    """

    name: str
    nodes: frozenset[str]
    macs: int

    @property
    def size(self) -> int:
        """Return the group's work: its multiply-accumulates, and one for every node.

        The nodes count so that no group is free, even one that multiplies nothing.
        """
        return self.macs + len(self.nodes)


def groups_of(model: onnx.ModelProto, by: GroupBy) -> list[Group]:
    """Return the groups of a graph whose nodes are named and whose shapes are inferred, in order.

    A layer is a node that multiplies (convolution, matrix product) with the nodes behind it up to
    the next such node; where branches meet, the later layer takes the nodes. Nodes before any
    layer belong to the first one that reads them. A block holds the layers whose names share a
    scope, up to the first part with a number: `/encoder.0/conv/Conv` and `/encoder.0/rewrite/Conv`.
    A graph that multiplies nothing is one group, `graph`.
    """
    macs = macs_by_node(model)
    members: dict[str, list[str]] = {}
    for layer, nodes in _layers(model).items():
        members.setdefault(_block(layer, nodes) if by is GroupBy.block else layer, []).extend(nodes)
    return [
        Group(name, frozenset(nodes), sum(macs.get(node, 0) for node in nodes))
        for name, nodes in members.items()
    ]


def _layers(model: onnx.ModelProto) -> dict[str, list[str]]:
    """Return the nodes of every layer, both by name, in the order of the graph."""
    nodes = [node for node in model.graph.node if node.op_type != "Constant"]
    names = [node.name for node in nodes if node.op_type in MULTIPLYING] or ["graph"]
    number: dict[str, int] = {}  # of the layer that made a tensor
    layer: dict[str, int] = {}  # of a node
    count = 0
    for node in nodes:
        before = [number[name] for name in node.input if name in number]
        if node.op_type in MULTIPLYING:
            layer[node.name] = count
            count += 1
        elif before:
            layer[node.name] = max(before)
        if node.name in layer:
            number.update(dict.fromkeys(node.output, layer[node.name]))
    read_by: dict[str, int] = {}
    for node in reversed(nodes):
        if node.name not in layer:
            layer[node.name] = min((read_by[n] for n in node.output if n in read_by), default=0)
        for name in node.input:
            read_by[name] = min(layer[node.name], read_by.get(name, layer[node.name]))
    members: dict[str, list[str]] = {name: [] for name in names}
    for node in nodes:
        members[names[layer[node.name]]].append(node.name)
    return members


def _block(layer: str, nodes: list[str]) -> str:
    """Return the scope of a layer up to the first numbered part; its name where it has no scope.

    A node that a simplifier made (`Gemm_4`) has lost its scope: that of the nodes after it counts.
    """
    named = next((name for name in (layer, *nodes) if "/" in name), layer)
    scope = named.split("/")[:-1]
    for index, part in enumerate(scope):
        if part[-1:].isdigit():
            return "/".join(scope[: index + 1])
    return "/".join(scope) or layer
