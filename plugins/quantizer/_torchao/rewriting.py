"""Rewrites an opened program so that torchao reads it rightly, without changing its results."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from core import StageError
from core.formats.torch_export import functional, operator
from plugins.quantizer._torchao.constants import fold_constants

if TYPE_CHECKING:
    import torch

__all__ = ["opened", "rewritten"]

#: Products of a window with a matrix: the positions of the window, the matrix and the bias.
PRODUCTS = {"matmul": (0, 1, None), "mm": (0, 1, None), "addmm": (1, 2, 0)}


def opened(program: torch.export.ExportedProgram) -> torch.fx.GraphModule:
    """Return `program` as a module whose nodes write into no tensor.

    Values that depend on weights alone become weights. Raises StageError for a program whose
    buffers change, or in which a size depends on values.
    """
    import torch

    for node in program.graph.nodes:
        value = node.meta.get("val")
        if isinstance(value, torch.Tensor) and not all(isinstance(n, int) for n in value.shape):
            raise StageError(
                f"the size of the output of `{node.name}` depends on values or on the window: "
                f"{operator(node)} {'×'.join(map(str, value.shape))}",
                "a quantised program has fixed sizes",
                "mark values instead of picking them (torch.where, a product with a mask)",
                "or keep the program in float: quantizer=none",
            )
    module = functional(program).module(check_guards=False)
    assert isinstance(module, torch.fx.GraphModule)
    fold_constants(module)
    module.graph.eliminate_dead_code()
    module.recompile()
    return module


def rewritten(module: torch.fx.GraphModule) -> torch.fx.GraphModule:
    """Return an opened program, changed in place, in operators that torchao reads rightly.

    Products with a matrix of weights (`addmm`, `mm`, `matmul`) are linear layers, batch norms are
    arithmetic.
    """
    for node in list(module.graph.nodes):
        if "batch_norm" in operator(node):
            _as_arithmetic(module.graph, node)
    for node in list(module.graph.nodes):
        if operator(node) in PRODUCTS:
            _as_linear(module.graph, node)
    fold_constants(module)
    module.graph.eliminate_dead_code()
    module.recompile()
    return module


def _as_arithmetic(graph: torch.fx.Graph, node: Any) -> None:
    """Replace a batch norm by arithmetic: the exporter has folded those that can be folded.

    torchao 0.18 folds every batch norm that is left into the convolution or linear layer before it,
    even where others read that one too; fails with a TypeError for one without statistics; and
    searches patterns of training around it for 45 s.
    """
    import torch

    aten = torch.ops.aten
    schema = node.target._schema  # noqa: SLF001  # torch has no public name for it
    names = [argument.name for argument in schema.arguments]
    given: dict[str, Any] = {**dict(zip(names, node.args, strict=False)), **node.kwargs}
    window, mean, variance = given["input"], given.get("running_mean"), given.get("running_var")
    rank = window.meta["val"].dim()

    def call(function: Any, *arguments: Any) -> torch.fx.Node:
        made = graph.call_function(function, arguments)
        made.meta.update({k: v for k, v in node.meta.items() if k == "nn_module_stack"})
        return made

    def column(values: Any) -> torch.fx.Node:
        return call(aten.reshape.default, values, [-1, *[1] * (rank - 2)])

    with graph.inserting_before(node):
        if mean is None or given.get("training"):
            axes = [axis for axis in range(rank) if axis != 1]
            mean = call(aten.mean.dim, window, axes, True)
            centred = call(aten.sub.Tensor, window, mean)
            squares = call(aten.mul.Tensor, centred, centred)
            variance = call(aten.mean.dim, squares, axes, True)
        else:
            centred = call(aten.sub.Tensor, window, column(mean))
            variance = column(variance)
        gain = call(aten.rsqrt.default, call(aten.add.Tensor, variance, given["eps"]))
        if given.get("weight") is not None:
            gain = call(aten.mul.Tensor, gain, column(given["weight"]))
        result = call(aten.mul.Tensor, centred, gain)
        if given.get("bias") is not None:
            result = call(aten.add.Tensor, result, column(given["bias"]))
    _replace(graph, node, result)


def _as_linear(graph: torch.fx.Graph, node: Any) -> None:
    """Replace a product with a matrix of weights by a linear layer; other products stay.

    `addmm` computes `beta * bias + alpha * (window @ matrix)`.
    """
    import torch

    aten = torch.ops.aten
    first, second, added = PRODUCTS[operator(node)]
    window, matrix = node.args[first], node.args[second]
    bias: Any = None if added is None else node.args[added]
    if not _is_weight(matrix) or matrix.meta["val"].dim() != 2:  # noqa: PLR2004  # rows, columns
        return
    alpha, beta = (node.kwargs.get(name, 1) for name in ("alpha", "beta"))
    columns = matrix.meta["val"].shape[1]
    with graph.inserting_before(node):
        weight: Any = graph.call_function(aten.t.default, (matrix,))
        if alpha != 1:
            weight = graph.call_function(aten.mul.Tensor, (weight, alpha))
        if bias is not None and beta != 1:
            bias = graph.call_function(aten.mul.Tensor, (bias, beta))
        row: Any = None
        if bias is not None and _is_weight(node.args[0]) and _is_row(node.args[0], columns):
            flat = graph.call_function(aten.reshape.default, (bias, [-1]))
            row = graph.call_function(aten.expand.default, (flat, [columns]))
        result: Any = graph.call_function(aten.linear.default, (window, weight, row))
        result.meta.update(node.meta)
        if bias is not None and row is None:
            result = graph.call_function(aten.add.Tensor, (result, bias))
    _replace(graph, node, result)


def _is_weight(node: Any) -> bool:
    return getattr(node, "op", "") == "get_attr"


def _is_row(node: Any, columns: int) -> bool:
    """Return whether a bias adds the same to every row."""
    shape = tuple(node.meta["val"].shape)
    return shape[:-1] in ((), (1,)) and shape[-1:] in ((), (1,), (columns,))


def _replace(graph: torch.fx.Graph, node: torch.fx.Node, result: torch.fx.Node) -> None:
    """Put `result` in the place of `node`, and of the first of its results if it gives several."""
    result.meta.update(node.meta)
    if "val" in node.meta and isinstance(node.meta["val"], list | tuple):
        result.meta["val"] = node.meta["val"][0]
        for part in list(node.users):
            part.replace_all_uses_with(result)
            graph.erase_node(part)
    node.replace_all_uses_with(result)
    graph.erase_node(node)
