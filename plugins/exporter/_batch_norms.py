"""Folds batch norms into the convolutions before them (Conv + BN), in a torch graph."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from core.formats.torch_export import constant, operator

if TYPE_CHECKING:
    import torch

__all__ = ["fold_batch_norms"]

#: The convolutions by operator, and whether one is transposed.
CONVOLUTIONS = {
    "conv1d": False,
    "conv2d": False,
    "conv3d": False,
    "conv_transpose1d": True,
    "conv_transpose2d": True,
    "conv_transpose3d": True,
}
#: The position of `groups` among the arguments of a transposed convolution.
GROUPS = 6


def fold_batch_norms(module: torch.fx.GraphModule) -> int:
    """Fold every batch norm that is a convolution's only reader into its weights, in place.

    Returns how many. In inference a batch norm is a scale and a shift per channel, so the result
    is the same but for rounding; the formula is `torch.nn.utils.fusion.fuse_conv_bn_weights`. A
    batch norm with statistics of its batch stays, as does a convolution with other readers.
    """
    folded = 0
    for norm in list(module.graph.nodes):
        convolution: Any = norm.args[0] if norm.args else None
        if operator(norm) == "batch_norm" and _folds(convolution, norm):
            _fold(module, convolution, norm, index=folded)
            folded += 1
    module.recompile()
    return folded


def _folds(convolution: object, norm: torch.fx.Node) -> bool:
    """Return whether `norm`, with fixed statistics, is the only reader of `convolution`."""
    import torch

    if not isinstance(convolution, torch.fx.Node) or operator(convolution) not in CONVOLUTIONS:
        return False
    fixed = norm.args[3] is not None and norm.args[4] is not None and not norm.args[5]
    weights = [node for node in convolution.args[1:3] if node is not None]
    constant = all(isinstance(n, torch.fx.Node) and n.op == "get_attr" for n in weights)
    # A transposed convolution in groups keeps its weights in an order that the formula misreads.
    grouped = CONVOLUTIONS[operator(convolution)] and convolution.args[GROUPS : GROUPS + 1] > (1,)
    return fixed and constant and not grouped and len(convolution.users) == 1


def _fold(
    module: torch.fx.GraphModule, convolution: torch.fx.Node, norm: torch.fx.Node, index: int
) -> None:
    """Give `convolution` new weights and take `norm` out; args as in `aten.batch_norm`."""
    import torch
    from torch.nn.utils.fusion import fuse_conv_bn_weights

    def value(node: object) -> torch.Tensor | None:
        return constant(module, node) if isinstance(node, torch.fx.Node) else None

    weight, mean, variance = value(convolution.args[1]), value(norm.args[3]), value(norm.args[4])
    assert weight is not None and mean is not None and variance is not None  # noqa: PT018
    bias = value(convolution.args[2]) if len(convolution.args) > 2 else None  # noqa: PLR2004
    transposed = CONVOLUTIONS[operator(convolution)]
    scale, shift = value(norm.args[1]), value(norm.args[2])
    epsilon: Any = norm.args[7]
    fused = fuse_conv_bn_weights(
        weight, bias, mean, variance, epsilon, scale, shift, transpose=transposed
    )
    given = []
    with module.graph.inserting_before(convolution):
        for part, tensor in zip(("weight", "bias"), fused, strict=True):
            name = f"folded_{index}_{part}"
            module.register_parameter(name, torch.nn.Parameter(tensor.detach(), False))
            given.append(module.graph.get_attr(name))
    convolution.args = (convolution.args[0], *given, *convolution.args[3:])
    norm.replace_all_uses_with(convolution)
    module.graph.erase_node(norm)
