"""Counts the work of a program per precision, from the written program itself."""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING, Any

from core import Fact
from core.formats.precision_census import Census
from core.formats.torch_export import operator

if TYPE_CHECKING:
    import torch


__all__ = ["census", "multiplies", "quantised_of"]

QUANTISE = ("quantize_per_tensor", "quantize_per_channel", "choose_qparams")
DEQUANTISE = ("dequantize_per_tensor", "dequantize_per_channel")
#: Operators that convert types or only rename a shape: they compute nothing.
FREE = {
    *QUANTISE, *DEQUANTISE, "_assert_tensor_metadata", "_to_copy", "_unsafe_view", "alias",
    "contiguous", "clone", "dropout", "expand", "flatten", "getitem", "permute", "reshape",
    "select", "slice", "split_with_sizes", "squeeze", "t", "to", "transpose", "unflatten",
    "unsqueeze", "view",
}  # fmt: skip
PRODUCTS = {"linear", "matmul", "mm", "bmm", "addmm", "baddbmm", "scaled_dot_product_attention"}
BIASED = {"addmm", "baddbmm"}
TYPES = {"float32": "fp32", "float16": "fp16", "bfloat16": "bf16"}


def census(program: torch.export.ExportedProgram) -> Census:
    """Count nodes and multiply-accumulates per precision, and the bytes that one window moves."""
    nodes: Counter[str] = Counter()
    macs: Counter[str] = Counter()
    moved = sum(tensor.numel() * tensor.element_size() for tensor in program.state_dict.values())
    for node in program.graph.nodes:
        precision = _precision(node)
        if precision is None:
            continue
        nodes[precision] += 1
        macs[precision] += _macs(node)
        moved += _bytes(node) * (1 + len(node.users))
    return Census(dict(nodes), {name: count for name, count in macs.items() if count}, moved)


def quantised_of(program: torch.export.ExportedProgram) -> dict[str, Fact]:
    """Return how many of the operators that multiply are quantised, and how many are not."""
    weighty = [_precision(n) for n in program.graph.nodes if _precision(n) and _macs(n)]
    inside = weighty.count("w8a8")
    return {"quantised_nodes": inside, "float_nodes": len(weighty) - inside}


def multiplies(node: torch.fx.Node) -> bool:
    """Return whether a node is a product: a convolution, a product of matrices, attention."""
    return node.op == "call_function" and bool(_macs(node))


def _precision(node: torch.fx.Node) -> str | None:
    """Return a node's precision: `w8a8` between quantised inputs, else the type it returns."""
    value: Any = node.meta.get("val")
    if node.op != "call_function" or operator(node) in FREE or not hasattr(value, "dtype"):
        return None
    makers = [operator(parent) for parent in node.all_input_nodes[:2]]
    if len(makers) > 1 and all(maker in DEQUANTISE for maker in makers):
        return "w8a8"
    return TYPES.get(str(value.dtype).removeprefix("torch."))


def _macs(node: torch.fx.Node) -> int:
    """Return the multiply-accumulates of a node for one window; 0 where it is no product."""
    name = operator(node)
    if name not in PRODUCTS and not name.startswith("conv"):
        return 0
    parents = node.all_input_nodes
    # The bias comes first in these, and a square has one parent only.
    first, second = (_shape(parent) for parent in (*parents, parents[-1])[name in BIASED :][:2])
    out = math.prod(_shape(node))
    if name == "scaled_dot_product_attention":
        return 2 * math.prod(first) * second[-2]  # queries with keys, then weights with values
    if name in ("matmul", "mm", "bmm", "addmm", "baddbmm"):
        return out * first[-1]
    if name.startswith("conv_transpose"):
        return math.prod(first) * math.prod(second[1:])
    return out * math.prod(second[1:])


def _shape(node: torch.fx.Node) -> tuple[int, ...]:
    return tuple(int(length) for length in node.meta["val"].shape)


def _bytes(node: torch.fx.Node) -> int:
    value = node.meta["val"]
    return int(value.numel() * value.element_size())
