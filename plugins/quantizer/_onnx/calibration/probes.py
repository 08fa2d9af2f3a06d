"""Adds outputs to a graph that show the extremes of its tensors, and samples of their values."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

from core import Tensors

if TYPE_CHECKING:
    import onnx


__all__ = [
    "LEAST",
    "MEAN",
    "MOST",
    "SAMPLE",
    "add_mean",
    "around",
    "probed",
    "same_values",
    "second_operands",
    "shapes_of",
]

#: Suffixes of the added outputs, after the name of the tensor that they show.
LEAST, MOST, SAMPLE, MEAN = ":least", ":most", ":sample", ":mean"
#: Values of a constant that may be a shape, a list of axes or the like.
SHAPE = 1024
#: The end of the longest axis.
LAST = 2**63 - 1
#: Operators that return the values they read, in another shape or order.
ARRANGING = frozenset({"Flatten", "Identity", "Reshape", "Squeeze", "Transpose", "Unsqueeze"})
#: Operators that return some of the values they read: keys and values out of one product.
PICKING = frozenset({"Gather", "Slice", "Split"})


def around(model: onnx.ModelProto, operators: Collection[str]) -> list[str]:
    """Return the float tensors that nodes of `operators` read or write, in the graph's order.

    Initializers are none of them.
    """
    from onnx import TensorProto

    touched = {
        name
        for node in model.graph.node
        if node.op_type in operators
        for name in (*node.input, *node.output)
    }
    graph = model.graph
    types = {
        value.name: value.type.tensor_type.elem_type
        for value in (*graph.value_info, *graph.input, *graph.output)
    }
    weights = {tensor.name for tensor in graph.initializer}
    names = [value.name for value in graph.input if value.name not in weights]
    names += [name for node in graph.node for name in node.output]
    return [name for name in names if name in touched and types.get(name) == TensorProto.FLOAT]


def same_values(model: onnx.ModelProto) -> dict[str, str]:
    """Return, for every tensor that only rearranges another one's values, that other tensor."""
    weights = {tensor.name for tensor in model.graph.initializer}
    found: dict[str, str] = {}
    for node in model.graph.node:
        if node.op_type in ARRANGING and node.input[0] not in weights:
            found[node.output[0]] = found.get(node.input[0], node.input[0])
    return found


def second_operands(model: onnx.ModelProto) -> set[str]:
    """Return the tensors whose values products of two activations take as their second operand.

    Those are the tensors that make the values, where others arrange them or pick some in between.
    """
    weights = {tensor.name for tensor in model.graph.initializer}
    made_by = {name: node for node in model.graph.node for name in node.output}
    found: set[str] = set()
    waiting = [n.input[1] for n in model.graph.node if n.op_type == "MatMul"]
    while waiting:
        name = waiting.pop()
        if name in weights or name in found:
            continue
        found.add(name)
        maker = made_by.get(name)
        if maker is not None and maker.op_type in ARRANGING | PICKING:
            waiting.append(maker.input[0])
    return found


def shapes_of(model: onnx.ModelProto, feeds: Tensors) -> dict[str, tuple[int, ...]]:
    """Return the shape of each tensor for inputs like `feeds`, where it can be inferred."""
    import onnx

    bare = _without_weights(model)
    for value in bare.graph.input:
        if value.name in feeds:
            shape = value.type.tensor_type.shape
            del shape.dim[:]
            for length in feeds[value.name].shape:
                shape.dim.add().dim_value = length
    graph = onnx.shape_inference.infer_shapes(bare).graph
    return {
        value.name: tuple(d.dim_value for d in value.type.tensor_type.shape.dim)
        for value in (*graph.input, *graph.value_info, *graph.output)
        if value.type.tensor_type.HasField("shape")
        and all(d.HasField("dim_value") for d in value.type.tensor_type.shape.dim)
    }


def _without_weights(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return a copy whose large constants lie elsewhere: shape inference works on one message.

    It holds no shapes: those that were inferred for free axes would stand in the way.
    """
    import onnx

    bare = onnx.ModelProto(
        ir_version=model.ir_version, opset_import=model.opset_import, functions=model.functions
    )
    graph = bare.graph
    graph.name = model.graph.name
    graph.node.extend(model.graph.node)
    graph.input.extend(model.graph.input)
    graph.output.extend(model.graph.output)
    for tensor in model.graph.initializer:
        own = graph.initializer.add()
        if math.prod(tensor.dims) <= SHAPE:
            own.CopyFrom(tensor)
            continue
        own.name, own.data_type = tensor.name, tensor.data_type
        own.dims.extend(tensor.dims)
        own.data_location = onnx.TensorProto.EXTERNAL
        own.external_data.add(key="location", value="weights")
    return bare


def probed(
    model: onnx.ModelProto,
    tensors: Collection[str],
    counts: dict[str, int],
    samples: int,
    means: Mapping[str, int],
) -> onnx.ModelProto:
    """Return `model`, changed in place, with probes of `tensors` as further outputs.

    Each shows a tensor's extremes, arrays of shape (), and at most about `samples` of its values,
    shape (values,). Those in `means` also show the mean along all axes but that one, where their
    shape is known. Every probe stands right behind the node whose result it reads:
    at the end of the graph, where ONNX Runtime's own calibrators put theirs, all activations
    would wait for them in memory.
    """
    graph = model.graph
    wanted = set(tensors)
    nodes = list(graph.node)
    # Before opset 10 a Slice takes no step: all values are shown there.
    stepping = any(e.domain in ("", "ai.onnx") and e.version >= 10 for e in model.opset_import)  # noqa: PLR2004

    ranks = {v.name: len(v.type.tensor_type.shape.dim) for v in (*graph.input, *graph.value_info)}

    def probe(name: str) -> None:
        if name in wanted:
            stride = _stride(counts.get(name), samples)
            _probe(graph, name, stride if stepping else 1, name in counts)
        if name in means and counts.get(name) and ranks.get(name, 0) > means[name]:
            add_mean(model, name, [a for a in range(ranks[name]) if a != means[name]])

    del graph.node[:]
    for value in graph.input:
        probe(value.name)
    for node in nodes:
        graph.node.append(node)
        for name in node.output:
            probe(name)
    return model


def _stride(count: int | None, samples: int) -> int:
    """Return a step through `count` values that takes about `samples` of them, from everywhere.

    It shares no factor with `count`, hence none with the length of an axis: a step that did would
    see a few channels or a few moments only.
    """
    stride = -(-(count or 0) // samples)
    while stride > 1 and math.gcd(stride, count or 0) > 1:
        stride += 1
    return max(1, stride)


def _probe(graph: onnx.GraphProto, tensor: str, stride: int, counted: bool) -> None:
    """Append the probe of one tensor: its extremes, and every `stride`th of its values.

    A tensor that is not `counted` may be empty, which has no extremes: 0 is added to its values, as
    quantisation adds it to every range.
    """
    from onnx import TensorProto, helper

    row = f"{tensor}:row"
    graph.node.append(helper.make_node("Reshape", [tensor, _constant(graph, -1)], [row]))
    read = tensor
    if not counted:
        read = f"{tensor}:row and 0"
        graph.node.append(helper.make_node("Concat", [row, _constant(graph, 0.0)], [read], axis=0))
    for operator, ending in (("ReduceMin", LEAST), ("ReduceMax", MOST)):
        node = helper.make_node(operator, [read], [tensor + ending], keepdims=0)
        graph.node.append(node)
        graph.output.append(helper.make_tensor_value_info(tensor + ending, TensorProto.FLOAT, []))
    node = helper.make_node("Identity", [row], [tensor + SAMPLE])
    if stride > 1:
        ends = [_constant(graph, end) for end in (0, LAST, 0, stride)]
        node = helper.make_node("Slice", [row, *ends], [tensor + SAMPLE])
    graph.node.append(node)
    value = helper.make_tensor_value_info(tensor + SAMPLE, TensorProto.FLOAT, [None])
    graph.output.append(value)


def add_mean(model: onnx.ModelProto, tensor: str, axes: list[int]) -> None:
    """Append the probe of a tensor's mean along `axes`, of shape (channels,)."""
    import numpy as np
    from onnx import TensorProto, helper, numpy_helper

    graph, name = model.graph, tensor + MEAN
    node = helper.make_node("ReduceMean", [tensor], [name], keepdims=0)
    # The opset from which on the axes are an input.
    if any(e.domain in ("", "ai.onnx") and e.version >= 18 for e in model.opset_import):  # noqa: PLR2004
        node.input.append(f"{name}:axes")
        graph.initializer.append(numpy_helper.from_array(np.array(axes, np.int64), f"{name}:axes"))
    else:
        node.attribute.append(helper.make_attribute("axes", axes))
    graph.node.append(node)
    graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, [None]))


def _constant(graph: onnx.GraphProto, value: float) -> str:
    """Return the name of a constant of one number; add the constant where it is missing."""
    import numpy as np
    from onnx import numpy_helper

    name = f":{value}"
    if name not in {tensor.name for tensor in graph.initializer}:
        kind = np.float32 if isinstance(value, float) else np.int64
        graph.initializer.append(numpy_helper.from_array(np.array([value], kind), name))
    return name
