"""Finds nodes and tensors of a graph by the entries of a recipe: an operator, or a pattern."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from core import StageError
from core.errors import did_you_mean

if TYPE_CHECKING:
    import onnx

__all__ = ["activations", "nodes_matching", "tensors_matching"]


def activations(model: onnx.ModelProto) -> list[str]:
    """Return the float tensors that are computed or fed, in order; constants are none of them."""
    from onnx import TensorProto

    graph = model.graph
    constants = {tensor.name for tensor in graph.initializer}
    constants |= {n.output[0] for n in graph.node if n.op_type == "Constant"}
    types = {
        value.name: value.type.tensor_type.elem_type
        for value in (*graph.value_info, *graph.input, *graph.output)
    }
    names = [value.name for value in graph.input]
    names += [name for node in graph.node for name in node.output if name]
    return [n for n in names if types.get(n) == TensorProto.FLOAT and n not in constants]


def nodes_matching(model: onnx.ModelProto, entries: Sequence[str], option: str) -> list[str]:
    """Return the names of the nodes whose operator or name an entry of `option` matches."""
    named = {node.name: (node.op_type, node.name) for node in model.graph.node}
    return _matching(named, entries, option, "node")


def tensors_matching(model: onnx.ModelProto, entries: Sequence[str], option: str) -> list[str]:
    """Return the activations that an entry of `option` matches, or whose operator it names."""
    made_by = {name: node.op_type for node in model.graph.node for name in node.output}
    named = {name: (made_by.get(name, ""), name) for name in activations(model)}
    return _matching(named, entries, option, "tensor")


def _matching(
    named: dict[str, tuple[str, str]], entries: Sequence[str], option: str, what: str
) -> list[str]:
    """Return every name with an operator or name like one of `entries`, in order.

    An operator that the graph happens not to have is no mistake, since a preset serves many
    models; a pattern that matches nothing is one, and raises StageError.
    """
    import onnx

    hits: set[str] = set()
    for entry in entries:
        found = {
            name
            for name, (operator, own) in named.items()
            if operator == entry or fnmatchcase(own, entry)
        }
        if not found and not onnx.defs.has(entry):
            raise StageError(
                f"`{option}` has `{entry}`, which is neither an operator nor a {what} of the graph",
                did_you_mean(entry, _names(named.values())),
                f"give an operator (Softmax) or a pattern of {what} names (*/norm1/*)",
            )
        hits |= found
    return [name for name in named if name in hits]


def _names(pairs: Iterable[tuple[str, str]]) -> set[str]:
    return {text for pair in pairs for text in pair if text}
