"""Shows what the graphs inside of nodes (bodies of If, Loop, Scan) read of the graph around them.

A body reads tensors of the outer graph by their names, which no list of inputs tells. A tool that
renames, moves or removes tensors by the lists of inputs leaves a body with names that are gone.
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
    """List, in place, what bodies read as further inputs of their nodes; returns that by node."""
    shown: dict[str, list[str]] = {}
    for node in model.graph.node:
        read = sorted(read_inside(node))
        if read:
            node.input.extend(read)
            shown[node.name] = read
    return shown


def hide_reads(model: onnx.ModelProto, shown: dict[str, list[str]]) -> None:
    """Take the further inputs away, in place, after bodies were told what they are called now."""
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
