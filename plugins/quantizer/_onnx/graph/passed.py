"""Removes outputs that are inputs from a graph while a tool rewrites it, and restores them.

A model may return an input as it is. ONNX Runtime 1.31.1's quantiser and its converter to FP16
rename the node result behind an output, but no node makes this one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnx

__all__ = ["put_back", "taken_out"]


def taken_out(model: onnx.ModelProto) -> list[tuple[int, onnx.ValueInfoProto]]:
    """Remove the outputs that are inputs, in place; returns them with their places."""
    graph = model.graph
    inputs = {value.name for value in graph.input}
    outputs = list(enumerate(graph.output))
    del graph.output[:]
    graph.output.extend(value for _, value in outputs if value.name not in inputs)
    return [(place, value) for place, value in outputs if value.name in inputs]


def put_back(model: onnx.ModelProto, taken: list[tuple[int, onnx.ValueInfoProto]]) -> None:
    """Add outputs at their former places, in place."""
    outputs = list(model.graph.output)
    for place, value in taken:
        outputs.insert(place, value)
    del model.graph.output[:]
    model.graph.output.extend(outputs)
