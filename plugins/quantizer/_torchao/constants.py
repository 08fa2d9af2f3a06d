"""Computes all values that depend on the weights alone, once for all windows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from core.formats.torch_export import constant

if TYPE_CHECKING:
    import torch

__all__ = ["fold_constants"]


def fold_constants(module: torch.fx.GraphModule) -> int:
    """Replace nodes that depend on weights alone by their values, in place; returns how many.

    Parts of a weight (attention keeps three matrices in one) become weights of their own, which a
    quantiser finds; weights that are cast are stored as cast. A tensor that is made from nothing,
    such as positions, has a recipe shorter than its value, so it stays.
    """
    import torch

    values: dict[torch.fx.Node, Any] = {}
    for node in module.graph.nodes:
        if _is_tensor(module, node):
            values[node] = constant(module, node)
        elif node.all_input_nodes and all(n in values for n in node.all_input_nodes):
            if node.is_impure():
                return 0  # it may write into a weight: then no weight is a constant
            args, kwargs = torch.fx.node.map_arg((node.args, node.kwargs), values.get)
            with torch.no_grad():
                values[node] = node.target(*args, **kwargs)
    folded = 0
    for node, value in values.items():
        needed = any(user not in values for user in node.users)
        if node.op == "get_attr" or not needed or not isinstance(value, torch.Tensor):
            continue
        number = folded
        while hasattr(module, name := f"folded_constant_{number}"):
            number += 1
        module.register_buffer(name, value.detach().clone(memory_format=torch.contiguous_format))
        with module.graph.inserting_before(node):
            stored = module.graph.get_attr(name)
        stored.meta.update(node.meta)
        node.replace_all_uses_with(stored, delete_user_cb=lambda user: user not in values)
        folded += 1
    return folded


def _is_tensor(module: torch.fx.GraphModule, node: torch.fx.Node) -> bool:
    """Return whether a node gives a weight; `get_attr` also gives the graph of a branch."""
    import torch

    if node.op != "get_attr":
        return False
    try:
        return isinstance(constant(module, node), torch.Tensor)
    except AssertionError:
        return False
