"""Random inputs for a graph, from its declared inputs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import onnx
    import onnxruntime

__all__ = ["NotPlayableError", "free_axes", "random_feeds"]

#: NumPy's name of each float type that NumPy has, by ONNX Runtime's name.
FLOATS = {"float16": "float16", "float": "float32", "double": "float64"}


class NotPlayableError(Exception):
    """Random inputs cannot be played through a graph; says why, in one line."""


def free_axes(graph: onnx.GraphProto, sizes: Mapping[str, int]) -> list[str]:
    """Return the axes of the inputs whose length neither the graph nor `sizes` gives."""
    constants = {tensor.name for tensor in graph.initializer}
    return [
        axis.dim_param or f"{value.name}[{index}]"
        for value in graph.input
        if value.name not in constants
        for index, axis in enumerate(value.type.tensor_type.shape.dim)
        if not axis.HasField("dim_value") and axis.dim_param not in sizes
    ]


def random_feeds(
    inputs: list[onnxruntime.NodeArg],
    sizes: Mapping[str, int],
    source: np.random.Generator,
    *,
    positive: bool = False,
) -> dict[str, Any]:
    """Return unit-variance noise, or zeros and ones for an input of integers or booleans.

    With `positive`, noise is not below zero. Raises NotPlayableError for an input of another type.
    """
    import numpy as np

    feeds = {}
    for given in inputs:
        shape = [axis if isinstance(axis, int) else sizes[axis] for axis in given.shape]
        kind = given.type.removeprefix("tensor(").removesuffix(")")
        if kind in FLOATS:
            noise = source.standard_normal(shape).astype(FLOATS[kind])
            feeds[given.name] = np.abs(noise) if positive else noise
        elif kind.startswith(("int", "uint", "bool")):
            feeds[given.name] = source.integers(0, 2, shape).astype(kind)
        else:
            raise NotPlayableError(f"its input `{given.name}` is of the type {given.type}")
    return feeds
