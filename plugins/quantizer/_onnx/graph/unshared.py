"""Gives every reader of weights its own copy, where a tool assumes that they have one reader."""

from __future__ import annotations

import copy
from collections.abc import Collection
from typing import TYPE_CHECKING

from plugins.quantizer._onnx.graph.operands import captured, is_signal

if TYPE_CHECKING:
    import onnx

__all__ = ["unshare_matrices", "unshare_roles", "unshare_weights"]

#: Axis of the output channels in weights, by the operator that they belong to.
CHANNELS = {"Conv": 0, "ConvTranspose": 1, "Gemm": 1, "MatMul": 1}
#: The role of a bias.
BIAS = ("bias",)


def unshare_matrices(model: onnx.ModelProto) -> onnx.ModelProto:
    """Copy the weights of a Gemm that others read as well, in place; returns the model.

    ONNX Runtime 1.31.1 transposes the weights of a Gemm that it quantises, once per Gemm: two
    that share them would transpose them twice.
    """
    graph = model.graph
    tensors = {tensor.name: tensor for tensor in graph.initializer}
    seen = dict.fromkeys(captured(model), 1)
    # Operators other than Gemm come first, so that they keep the weights as they are.
    for node in sorted(graph.node, key=lambda node: node.op_type == "Gemm"):
        for index, name in enumerate(node.input):
            if name not in tensors:
                continue
            seen[name] = seen.get(name, 0) + 1
            if node.op_type == "Gemm" and index == 1 and seen[name] > 1:
                own = graph.initializer.add()
                own.CopyFrom(tensors[name])
                own.name = node.input[index] = f"{name}_{seen[name]}"
    return model


def unshare_roles(model: onnx.ModelProto, included: Collection[str]) -> dict[str, str]:
    """Copy constants that nodes of names `included` read in several roles, in place.

    Returns the originals by copy. ONNX Runtime 1.31.1 quantises a constant once, as its last reader
    asks for: weights along the channels of another layer, or a bias as a signal. A rounded bias
    takes the name of the constant, so an operand that stays exact cannot share it: the mean of a
    batch norm that is as zero as its bias.
    """
    from onnx import TensorProto

    graph = model.graph
    tensors = {t.name: t for t in graph.initializer if t.data_type == TensorProto.FLOAT}
    exact = {
        name
        for node in graph.node
        for place, name in enumerate(node.input)
        if node.name not in included or not is_signal(node, place)
    }
    names: dict[str, dict[tuple[object, ...], str]] = {}
    copies: dict[str, str] = {}
    for node in graph.node:
        for place, name in enumerate(node.input):
            if name not in tensors or node.name not in included or not is_signal(node, place):
                continue
            roles = names.setdefault(name, {})
            role = _role(node, place)
            if role not in roles:
                taken = bool(roles) or (role == BIAS and name in exact)
                roles[role] = f"{name}/{node.op_type}_{place}_{len(roles)}" if taken else name
                if roles[role] != name:
                    own = graph.initializer.add()
                    own.CopyFrom(tensors[name])
                    own.name = roles[role]
                    copies[own.name] = name
            node.input[place] = roles[role]
    return copies


def _role(node: onnx.NodeProto, place: int) -> tuple[object, ...]:
    """Return the role of a constant in a node: weights along an axis, gain, bias, or signal."""
    if node.op_type.endswith("Normalization") and place:
        return BIAS if place > 1 else ("gain", node.op_type)
    if node.op_type not in CHANNELS or (place == 0 and node.op_type != "MatMul"):
        return ("signal",)
    if place > 1:
        return BIAS
    held = {attribute.name: attribute.i for attribute in node.attribute}
    axis = 0 if held.get("transB") else CHANNELS[node.op_type]
    return ("weights", axis, held.get("group", 1) if node.op_type == "ConvTranspose" else 1)


def unshare_weights(model: onnx.ModelProto) -> onnx.ModelProto:
    """Copy quantised weights that several nodes read, in place; returns the model.

    Where a processor lacks VNNI, ONNX Runtime 1.31.1 rewrites signed weights once per reader under
    one name, and cannot open a graph in which two readers share them.
    """
    graph = model.graph
    tensors = {tensor.name: tensor for tensor in graph.initializer}
    weights = {name for name, tensor in tensors.items() if tensor.dims}
    readers: dict[str, list[onnx.NodeProto]] = {}
    for node in graph.node:
        for name in dict.fromkeys(node.input):
            readers.setdefault(name, []).append(node)
    count = dict.fromkeys(weights, 0)
    for node in [n for n in graph.node if n.op_type == "DequantizeLinear"]:
        source, output = node.input[0], node.output[0]
        if source not in weights:
            continue
        for reader in readers.get(output, []):
            count[source] += 1
            if count[source] == 1:
                continue
            suffix = f"_{count[source]}"
            own = copy.deepcopy(node)
            own.name += suffix
            own.output[0] = output + suffix
            for index, name in enumerate(node.input):
                tensor = copy.deepcopy(tensors[name])
                tensor.name = own.input[index] = name + suffix
                graph.initializer.append(tensor)
            reader.input[:] = [own.output[0] if name == output else name for name in reader.input]
            graph.node.insert(0, own)
    unread = {node.output[0] for node in graph.node} - {n for r in graph.node for n in r.input}
    unread -= {value.name for value in graph.output}
    for node in [n for n in graph.node if n.op_type == "DequantizeLinear"]:
        if node.output[0] in unread:
            graph.node.remove(node)
    return model
