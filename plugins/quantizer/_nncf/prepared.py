"""Brings a float graph into the form that NNCF takes, and finds what it must leave in float."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from core import Notice, StageError
from plugins.quantizer._onnx.graph.operands import captured
from plugins.quantizer._onnx.qdq.exclusions import named

if TYPE_CHECKING:
    import onnx

__all__ = ["check_weights", "left_in_float", "once", "told", "unshared"]

#: Operators that NNCF takes weights of, with the place of these among the operands.
WEIGHTED = {"Conv": 1, "ConvTranspose": 1, "Gemm": 1}
#: Dimensions of weights whose columns are channels.
MATRIX = 2


def unshared(model: onnx.ModelProto) -> onnx.ModelProto:
    """Give every reader of float constants its own copy, in place; returns the model.

    NNCF 3.4.0 writes the integers of weights once per reader under one name, so that ONNX Runtime
    cannot open the graph; and it removes weights that the body of an If reads as well.
    """
    from onnx import TensorProto

    graph = model.graph
    tensors = {t.name: t for t in graph.initializer if t.data_type == TensorProto.FLOAT and t.dims}
    taken = {tensor.name for tensor in graph.initializer}
    seen = {*captured(model), *(value.name for value in graph.output)}
    for node in graph.node:
        for place, name in enumerate(node.input):
            if name not in tensors:
                continue
            if name in seen:
                own = graph.initializer.add()
                own.CopyFrom(tensors[name])
                own.name = f"{name}/{node.name}/{place}"
                while own.name in taken:
                    own.name += "_"
                taken.add(own.name)
                node.input[place] = own.name
            seen.add(name)
    return model


def once(model: onnx.ModelProto) -> onnx.ModelProto:
    """Let every node read a result once, in place; returns the model.

    A second operand becomes the result of an Identity: NNCF 3.4.0 fails at the square of a tensor,
    as its product with itself.
    """
    from onnx import helper

    constants = {tensor.name for tensor in model.graph.initializer}
    nodes = list(model.graph.node)
    del model.graph.node[:]
    for node in nodes:
        seen: set[str] = set()
        for place, name in enumerate(node.input):
            if name in seen:
                node.input[place] = copied = f"{name}/{node.name}/{place}"
                model.graph.node.append(
                    helper.make_node("Identity", [name], [copied], f"{node.name}/{place}/again")
                )
            elif name and name not in constants:
                seen.add(name)
        model.graph.node.append(node)
    return model


def check_weights(model: onnx.ModelProto, path: Path) -> None:
    """Raise StageError for a layer whose weights the graph computes: NNCF 3.4.0 fails at it."""
    constants = {tensor.name for tensor in model.graph.initializer}
    for node in model.graph.node:
        place = WEIGHTED.get(node.op_type)
        if place is not None and node.input[place] not in constants:
            raise StageError(
                f"NNCF takes layers with constant weights only, and {node.op_type} `{node.name}` "
                "computes its own",
                f"weights: `{node.input[place]}`",
                f"at: {path}",
                "quantise with another quantizer: precision=int8, precision=a8w8",
            )


def left_in_float(model: onnx.ModelProto) -> list[str]:
    """Return the products that ONNX Runtime does not compute once NNCF has quantised them.

    NNCF 3.4.0 gives every column of a product's weights a scale, along an axis that ONNX Runtime
    1.31.1 takes on the right and in two dimensions only.
    """
    shapes = {tensor.name: tensor.dims for tensor in model.graph.initializer}
    return [
        node.name
        for node in model.graph.node
        if node.op_type == "MatMul"
        and any(
            name in shapes and (place == 0 or len(shapes[name]) != MATRIX)
            for place, name in enumerate(node.input)
        )
    ]


def told(model: onnx.ModelProto, names: list[str]) -> tuple[Notice, ...]:
    """Return the notice about nodes that `left_in_float` found."""
    if not names:
        return ()
    nodes = {node.name: node for node in model.graph.node}
    text = (
        f"{len(names)} product(s) stay in float, because NNCF gives their weights scales that ONNX "
        f"Runtime does not take: {named(names, nodes)}"
    )
    return (Notice("info", text),)
