"""Describes an ONNX graph for a person, as facts of the artifact."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from core import Fact
from core.formats.onnx_graph import operators

if TYPE_CHECKING:
    import onnx

__all__ = ["describe"]


def describe(model: onnx.ModelProto) -> dict[str, Fact]:
    """Return node count, opset, parameters, operators by number, inputs and outputs."""
    return {
        "nodes": len(model.graph.node),
        "opset": next(o.version for o in model.opset_import if o.domain in ("", "ai.onnx")),
        "parameters": _parameters(model),
        "operators": operators(model.graph.node),
        "inputs": list(_tensors(model.graph.input)),
        "outputs": list(_tensors(model.graph.output)),
    }


def _parameters(model: onnx.ModelProto) -> int:
    """Count the elements of all float initializers; shapes and indices are no parameters."""
    import math

    from onnx import TensorProto

    floats = (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE)
    return sum(math.prod(t.dims) for t in model.graph.initializer if t.data_type in floats)


def _tensors(values: Iterable[onnx.ValueInfoProto]) -> Iterable[str]:
    """Yield lines such as `mix float32 1×2×44100`; a free axis shows its name."""
    from onnx import helper

    for value in values:
        kind = value.type.tensor_type
        axes = [d.dim_param or str(d.dim_value) for d in kind.shape.dim]
        dtype = helper.tensor_dtype_to_np_dtype(kind.elem_type).name
        yield f"{value.name} {dtype} {'×'.join(axes) or 'scalar'}"
