"""Computes products of 16-bit floats in FP32, where a processor has no kernels for 16 bits."""

from __future__ import annotations

from collections import Counter
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map_only

__all__ = ["InFloats"]

#: The operators that PyTorch leaves to oneDNN, below `torch.matmul`, `conv1d`, `linear` and others.
PRODUCTS = frozenset(
    {
        "addmm",
        "addmv",
        "baddbmm",
        "bmm",
        "convolution",
        "mm",
        "mv",
        "_scaled_dot_product_flash_attention_for_cpu",
    }
)
HALVES = (torch.bfloat16, torch.float16)


class InFloats(TorchDispatchMode):
    """While it is active, products of 16-bit floats are computed in FP32 and rounded.

    So do oneDNN's kernels for 16 bits: they add up in FP32, and round the sum. Weights and results
    keep 16 bits. PyTorch's own, slow kernels round more often: in the small HTDemucs 47 dB were
    left of 48. `counted` has the products by operator.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # torch gives no type
        self.counted: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name = str(func).split(".")[1]
        kind = next((a.dtype for a in args if isinstance(a, torch.Tensor)), None)
        if name not in PRODUCTS or kind not in HALVES:
            return func(*args, **kwargs)
        self.counted[name] += 1

        def widened(tensor: torch.Tensor) -> torch.Tensor:
            return tensor.float() if tensor.dtype is kind else tensor

        def rounded(tensor: torch.Tensor) -> torch.Tensor:
            return tensor.to(kind) if tensor.dtype is torch.float32 else tensor

        wide = tree_map_only(torch.Tensor, widened, (args, kwargs))
        return tree_map_only(torch.Tensor, rounded, func(*wide[0], **wide[1]))
