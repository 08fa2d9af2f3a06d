"""Writes every Gemm in the form that quantises right: `A · B`, and a bias of one value a column.

For `alpha · A · B + beta · C` ONNX Runtime 1.31.1's quantiser fails on a `C` that is no vector
where scales go by channel. It sets `beta` to 1 without multiplying, and its kernel on integers
expects `alpha` in the scale of the bias, which lacks it.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import onnx

__all__ = ["plain_gemms"]


def plain_gemms(model: onnx.ModelProto) -> onnx.ModelProto:
    """Rewrite the Gemms of `model`, in place, so that they compute the same; returns the model.

    Constant factors go into constant weights and biases. A bias that is computed, or has more than
    one row, is added by an Add after the Gemm, named after it. Expects names and types.
    """
    from onnx import TensorProto

    graph = model.graph
    types = {value.name: value for value in (*graph.value_info, *graph.output)}
    tensors = {tensor.name: tensor for tensor in graph.initializer}
    nodes: list[onnx.NodeProto] = []
    for node in graph.node:
        nodes.append(node)
        given = types.get(node.output[0]) if node.op_type == "Gemm" else None
        if given is not None and given.type.tensor_type.elem_type == TensorProto.FLOAT:
            nodes += _chained(graph, node, given, _steps(graph, node, given, tensors))
    del graph.node[:]
    graph.node.extend(nodes)
    return model


def _steps(
    graph: onnx.GraphProto,
    node: onnx.NodeProto,
    given: onnx.ValueInfoProto,
    tensors: dict[str, onnx.TensorProto],
) -> list[tuple[str, str]]:
    """Make a Gemm plain; returns the operators and operands that compute the rest after it."""
    from onnx import helper, numpy_helper

    held = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    alpha, beta = held.get("alpha", 1.0), held.get("beta", 1.0)
    _forget(node, "alpha", "beta")
    addend = node.input[2] if len(node.input) > 2 else ""  # noqa: PLR2004  # A, B and C
    del node.input[2:]
    if beta == 0.0:
        addend = ""
    computed = addend and addend not in tensors
    # Where the addend is computed: (alpha / beta · A · B + C) · beta.
    factor = alpha / beta if computed else alpha
    behind: list[tuple[str, str]] = []
    if factor != 1.0 and node.input[1] in tensors:
        weights = numpy_helper.to_array(tensors[node.input[1]])
        node.input[1] = _added(graph, f"{node.name}/weights", weights * factor)
    elif factor != 1.0:
        behind.append(("Mul", _added(graph, f"{node.name}/factor", factor)))
    if computed:
        behind.append(("Add", addend))
        if beta != 1.0:
            behind.append(("Mul", _added(graph, f"{node.name}/beta", beta)))
    elif addend:
        values = numpy_helper.to_array(tensors[addend])
        vector = None if behind else _vector(values, _columns(node, given, tensors))
        if vector is None:
            behind.append(("Add", _added(graph, f"{node.name}/addend", values * beta)))
        elif beta == 1.0 and vector.shape == values.shape:
            node.input.append(addend)
        else:
            node.input.append(_added(graph, f"{node.name}/bias", vector * beta))
    return behind


def _forget(node: onnx.NodeProto, *attributes: str) -> None:
    kept = [attribute for attribute in node.attribute if attribute.name not in attributes]
    del node.attribute[:]
    node.attribute.extend(kept)


def _columns(
    node: onnx.NodeProto, given: onnx.ValueInfoProto, tensors: dict[str, onnx.TensorProto]
) -> int:
    """Return how many columns the result of a Gemm has, 0 where that is unknown."""
    weights = tensors.get(node.input[1])
    if weights is not None:
        by_row = any(a.name == "transB" and a.i for a in node.attribute)
        return int(weights.dims[0 if by_row else 1])
    dims = given.type.tensor_type.shape.dim
    return int(dims[1].dim_value) if len(dims) > 1 else 0


def _vector(values: Any, columns: int) -> Any:
    """Return an addend as one value a column, None where it has rows that differ.

    One value for all columns is repeated, and a single row loses its first axis.
    """
    import numpy as np

    row = values.reshape(-1)
    if not columns or row.size not in (1, columns):
        return None
    if values.ndim and values.shape[-1] != row.size:  # a column: one value for every row
        return None
    return np.broadcast_to(row, (columns,))


def _added(graph: onnx.GraphProto, name: str, values: Any) -> str:
    """Add an initializer in FP32; returns its name, which is unique."""
    import numpy as np
    from onnx import numpy_helper

    taken = {tensor.name for tensor in graph.initializer}
    while name in taken:
        name += "_"
    graph.initializer.append(numpy_helper.from_array(np.array(values, np.float32), name))
    return name


def _chained(
    graph: onnx.GraphProto,
    gemm: onnx.NodeProto,
    given: onnx.ValueInfoProto,
    behind: list[tuple[str, str]],
) -> list[onnx.NodeProto]:
    """Return nodes for `behind`, from the result of `gemm` to its former output."""
    from onnx import helper

    nodes: list[onnx.NodeProto] = []
    last = gemm
    for number, (operator, operand) in enumerate(behind):
        name = f"{gemm.name}/{operator.lower()}_{number}"
        between = copy.deepcopy(given)
        between.name = f"{name}/operand"
        graph.value_info.append(between)
        (final,) = last.output
        last.output[0] = between.name
        last = helper.make_node(operator, [between.name, operand], [final], name)
        nodes.append(last)
    return nodes
