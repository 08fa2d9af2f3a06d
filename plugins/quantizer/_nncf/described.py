"""Describes a graph that NNCF quantised: what computes in integers, and what was reverted."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

from core import Fact
from plugins.quantizer._onnx.qdq.graph import facts_of

if TYPE_CHECKING:
    import onnx

__all__ = ["described", "endless", "reverted"]


def described(lowered: onnx.ModelProto, windows: int) -> dict[str, Fact]:
    """Count the nodes that read integers, and those that compute in float.

    NNCF puts conversions in front of operators; a result is in float until the next one.
    """
    operators = list({node.op_type for node in lowered.graph.node})
    everywhere = SimpleNamespace(
        op_types_to_quantize=operators,
        nodes_to_exclude=(),
        extra_options={"OpTypesToExcludeOutputQuantization": operators},
    )
    return facts_of(lowered, everywhere, windows)


def reverted(path: Path, lowered: onnx.ModelProto) -> list[str]:
    """Return the nodes that read integers in the graph at `path`, and floats in `lowered`."""
    import onnx

    before = onnx.load(str(path), load_external_data=False)
    left = set(_quantised(lowered))
    return [name for name in _quantised(before) if name not in left]


def _quantised(model: onnx.ModelProto) -> list[str]:
    """Return the names of the nodes that read the result of a conversion, in order."""
    conversions = ("QuantizeLinear", "DequantizeLinear")
    read = {n.output[0] for n in model.graph.node if n.op_type == "DequantizeLinear"}
    return [
        node.name
        for node in model.graph.node
        if node.op_type not in conversions and read.intersection(node.input)
    ]


def endless(lowered: onnx.ModelProto) -> list[str]:
    """Return the tensors whose scale is no number, or zero."""
    import numpy as np
    from onnx import numpy_helper

    constants = {tensor.name: tensor for tensor in lowered.graph.initializer}
    found = []
    for node in lowered.graph.node:
        scale = constants.get(node.input[1]) if node.op_type == "QuantizeLinear" else None
        if scale is not None:
            values = numpy_helper.to_array(scale)
            if not np.isfinite(values).all() or not (values > 0).all():
                found.append(node.input[0])
    return found
