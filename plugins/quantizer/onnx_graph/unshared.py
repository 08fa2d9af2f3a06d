"""Gives every reader of quantised weights its own copy of them."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnx

__all__ = ["unshare_weights"]


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
