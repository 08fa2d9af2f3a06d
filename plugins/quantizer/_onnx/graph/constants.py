"""Makes every constant of a graph an initializer, which is where quantizers look for it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from core.formats.onnx_session import session_options
from plugins.quantizer._onnx.graph.operands import captured, subgraphs

if TYPE_CHECKING:
    import onnx

__all__ = ["constants_lifted", "failures", "folded", "inputs_freed"]

#: A result that is computed once for all has at most so many values (4 MB in FP32): a mask of
#: 1,024 × 1,024, but no table that the model computes because it is large.
MOST_VALUES = 2**20
#: Operators that return something else every time, or no tensor; and the pair around integers,
#: with which a quantised graph holds its weights.
LEFT = ("Bernoulli", "DequantizeLinear", "Multinomial", "QuantizeLinear")
LEFT_KINDS = ("Optional", "Random", "Sequence", "SplitToSequence")


def constants_lifted(model: onnx.ModelProto) -> onnx.ModelProto:
    """Turn `Constant` nodes into initializers, in place; returns the model.

    ONNX Runtime's quantiser takes the result of such a node for an activation, and rounds it for
    every reader; its converter to FP16 rounds it even when its reader stays in FP32.
    """
    graph = model.graph
    left = []
    for node in graph.node:
        tensor = _value_of(node) if node.op_type == "Constant" else None
        if tensor is None:
            left.append(node)
            continue
        lifted = graph.initializer.add()
        lifted.CopyFrom(tensor)
        lifted.name = node.output[0]
    return _with_nodes(model, [*_given(graph, left), *left])


def _given(graph: onnx.GraphProto, nodes: Sequence[onnx.NodeProto]) -> list[onnx.NodeProto]:
    """Return nodes that write the outputs that are constants, which are renamed in place.

    Tools rename the node that writes an output, or change the type of a constant that is one.
    """
    from onnx import helper

    ends = {value.name for value in graph.output}
    made = []
    for tensor in graph.initializer:
        if tensor.name in ends:
            output, tensor.name = tensor.name, f"{tensor.name}/constant"
            for node in nodes:
                node.input[:] = [tensor.name if n == output else n for n in node.input]
            made.append(helper.make_node("Identity", [tensor.name], [output], f"{output}/given"))
    return made


def _value_of(node: onnx.NodeProto) -> onnx.TensorProto | None:
    """Return the numbers that a `Constant` holds; None for text, and for sparse tensors."""
    import numpy as np
    from onnx import numpy_helper

    (attribute,) = node.attribute
    if attribute.name == "value":
        return None if attribute.t.data_type == attribute.t.STRING else attribute.t
    held: dict[str, tuple[Any, type[np.generic]]] = {
        "value_float": (attribute.f, np.float32),
        "value_floats": (attribute.floats, np.float32),
        "value_int": (attribute.i, np.int64),
        "value_ints": (attribute.ints, np.int64),
    }
    if attribute.name not in held:
        return None
    values, kind = held[attribute.name]
    return numpy_helper.from_array(np.array(values, kind))


def inputs_freed(model: onnx.ModelProto) -> onnx.ModelProto:
    """Remove the initializers from the inputs, in place; returns the model.

    Graphs of IR version 3 list all of them, which says that a caller may replace any weight.
    """
    graph = model.graph
    constants = {tensor.name for tensor in graph.initializer}
    inputs = [value for value in graph.input if value.name not in constants]
    if len(inputs) < len(graph.input):
        del graph.input[:]
        graph.input.extend(inputs)
        model.ir_version = max(model.ir_version, 4)  # the first that lets them be left out
    return model


def folded(model: onnx.ModelProto) -> onnx.ModelProto:
    """Compute what depends on constants alone, in place; returns the model.

    A mask that a graph makes from a shape, or weights that it divides by their norm, are constants
    of the network: if they were computed, they would be quantised as signal, step by step. Expects
    lifted constants. Nodes that ONNX Runtime cannot compute stay as they are.
    """
    graph = model.graph
    ends = {value.name for value in graph.output}
    sizes = {
        value.name: math.prod(d.dim_value for d in value.type.tensor_type.shape.dim)
        for value in graph.value_info  # 0 where a length is not known
    }
    known = {tensor.name for tensor in graph.initializer}
    nodes: list[onnx.NodeProto] = []
    for node in graph.node:
        if (
            _is_computable(node)
            and known.issuperset(filter(None, node.input))
            and ends.isdisjoint(node.output)
            and all(sizes.get(name, 0) <= MOST_VALUES for name in node.output)
        ):
            nodes.append(node)
            known.update(node.output)
    values = _computed(model, nodes) if nodes else {}
    return _replaced(model, nodes, values)


def _is_computable(node: onnx.NodeProto) -> bool:
    return (
        node.domain in ("", "ai.onnx")
        and node.op_type not in LEFT
        and not node.op_type.startswith(LEFT_KINDS)
        and not list(subgraphs(node))
    )


def _computed(model: onnx.ModelProto, nodes: Sequence[onnx.NodeProto]) -> dict[str, Any]:
    """Return the results of nodes that read constants, by name; none where ONNX Runtime fails."""
    import onnx
    import onnxruntime
    from google.protobuf.message import EncodeError

    names = [name for node in nodes for name in node.output if name]
    used = {name for node in nodes for name in node.input}
    graph = onnx.helper.make_graph(
        nodes,
        "constants",
        [],
        [onnx.ValueInfoProto(name=name) for name in names],
        [tensor for tensor in model.graph.initializer if tensor.name in used],
    )
    part = onnx.helper.make_model(
        graph, opset_imports=model.opset_import, ir_version=model.ir_version
    )
    try:
        session = onnxruntime.InferenceSession(
            part.SerializeToString(), session_options(), providers=["CPUExecutionProvider"]
        )
        results = session.run(names, {})
    except (EncodeError, *failures()):
        return {}
    return dict(zip(names, results, strict=True))


def failures() -> tuple[type[Exception], ...]:
    """Return the errors that ONNX Runtime raises for a graph that it cannot open or run."""
    from onnxruntime.capi import onnxruntime_pybind11_state as states

    return (
        states.Fail,
        states.InvalidArgument,
        states.InvalidGraph,
        states.InvalidProtobuf,
        states.NotImplemented,
        states.RuntimeException,
    )


def _replaced(
    model: onnx.ModelProto, nodes: Sequence[onnx.NodeProto], values: Mapping[str, Any]
) -> onnx.ModelProto:
    """Replace nodes by initializers; a node whose result is too large stays."""
    import numpy as np
    from onnx import numpy_helper

    held = {n: v for n, v in values.items() if isinstance(v, np.ndarray) and v.size <= MOST_VALUES}
    made: set[str] = set()
    for node in nodes:
        results = set(filter(None, node.output))
        made |= results if results <= held.keys() else set()
    left = [node for node in model.graph.node if made.isdisjoint(node.output)]
    read = {name for node in left for name in node.input} | captured(model)
    for name in sorted(made & read):
        model.graph.initializer.append(numpy_helper.from_array(held[name], name))
    return _with_nodes(model, left)


def _with_nodes(model: onnx.ModelProto, nodes: Sequence[onnx.NodeProto]) -> onnx.ModelProto:
    """Keep only `nodes` in the graph, and the descriptions of their tensors."""
    graph = model.graph
    del graph.node[:]
    graph.node.extend(nodes)
    # The converter to FP16 would give a tensor that is described as a node's result casts of its
    # own, though it is an initializer by now.
    made = {name for node in nodes for name in node.output}
    described = [value for value in graph.value_info if value.name in made]
    del graph.value_info[:]
    graph.value_info.extend(described)
    return model
