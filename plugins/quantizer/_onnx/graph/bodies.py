"""Shows the tensors that graphs inside of nodes (bodies of If, Loop, Scan) read from around them.

A body reads tensors of the outer graph by their names, which no list of inputs holds. A tool that
renames, moves or removes tensors by the lists of inputs leaves stale names in a body.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from plugins.quantizer._onnx.graph.operands import read_inside, subgraphs

if TYPE_CHECKING:
    import onnx

__all__ = ["hide_reads", "show_reads", "with_bodies"]


def with_bodies(model: onnx.ModelProto) -> list[str]:
    """Return the names of the nodes that have graphs inside."""
    return [node.name for node in model.graph.node if any(True for _ in subgraphs(node))]


def show_reads(model: onnx.ModelProto) -> dict[str, list[str]]:
    """List, in place, the tensors that bodies read as further inputs; returns them by node."""
    shown: dict[str, list[str]] = {}
    for node in model.graph.node:
        read = sorted(read_inside(node))
        if read:
            node.input.extend(read)
            shown[node.name] = read
    return shown


def hide_reads(model: onnx.ModelProto, shown: dict[str, list[str]]) -> None:
    """Remove the further inputs, in place, after writing their present names into the bodies."""
    for node in model.graph.node:
        read = shown.get(node.name)
        if read is None:
            continue
        now = dict(zip(read, node.input[-len(read) :], strict=True))
        del node.input[-len(read) :]
        for graph in subgraphs(node):
            for inner in graph.node:
                inner.input[:] = [now.get(name, name) for name in inner.input]
            for value in graph.output:
                value.name = now.get(value.name, value.name)
