"""Counts the kernels of code that a compiler made, as PyTorch's profiler sees them."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from core import Placed, Placement
from plugins.runtime._torch_kernels.devices import Device

__all__ = ["kernels_of"]

SOURCE = "PyTorch's profiler"
#: Kernels that PyTorch's compiler generates, for processors and for GPUs.
GENERATED = re.compile(r"(graph_\d+_)?(cpp|triton|mps)_\w*fused")
#: Kernels of PyTorch's that compiled code calls: by its dispatcher, or from a package.
CALLED = re.compile(r"(?:(?:aten|mkldnn|mkl|onednn|quantized)::|aoti_torch_[a-z]+_)(\w+)")
#: Operators that only convert, copy, allocate or give a view.
IDLE = frozenset({
    "_reinterpret_tensor", "_to_copy", "alias", "as_strided", "cat_view", "clone", "contiguous",
    "copy_", "detach", "detach_", "empty", "empty_like", "empty_strided", "expand", "flatten",
    "item", "lift_fresh", "permute", "reshape", "resize_", "select", "set_", "slice", "split",
    "squeeze", "t", "to", "transpose", "unflatten", "unsqueeze", "view", "zeros_like",
})  # fmt: skip
#: Nodes that a placement names.
NAMED = 36
#: Names of types in C++, as a profile has them.
SCALARS = {"float": "fp32", "c10::BFloat16": "bf16", "c10::Half": "fp16", "double": "fp64"}


def kernels_of(
    call: Callable[[], object],
    device: Device,
    asked: Device,
    floats: Sequence[tuple[str, str]] = (),
) -> Placement | None:
    """Return the kernels that `call` runs; None where the profiler sees none.

    A kernel that the compiler generated has no precision: no trace knows its types. The precision
    of PyTorch's own kernels is that of the first tensor that they read. `floats` are operators of a
    program that should compute on integers, and do not: the name and the operator of each.
    """
    from torch.profiler import ProfilerActivity, profile

    from core.formats.torch_export import quiet

    # The profiler would print a line when it starts and one when it stops.
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")
    with quiet(), profile(activities=[ProfilerActivity.CPU], record_shapes=True) as made:
        call()
    found: list[str] = []
    until = 0
    for event in _in_order(made):
        kinds = [SCALARS[kind] for kind in event.dtypes() if kind in SCALARS]
        if event.start_ns() < until:  # a call inside of a kernel that is counted
            found[-1] = found[-1] or (kinds[0] if kinds else "")
            continue
        kernel = CALLED.match(event.name())
        if GENERATED.match(event.name()):
            found.append("")
        elif kernel and kernel[1] not in IDLE:
            found.append(kinds[0] if kinds else "")
            until = event.start_ns() + event.duration_ns()
    if not found:
        return None
    left = min(len(floats), found.count("fp32"))
    name, counts = device.name.upper(), Counter(found)
    counts["fp32"] -= left
    placed = [Placed(name, n, precision, asked=device is asked) for precision, n in counts.items()]
    placed.append(Placed(name, left, "fp32", asked=False))
    return Placement(SOURCE, tuple(p for p in placed if p.nodes), tuple(floats[: min(left, NAMED)]))


def _in_order(made: Any) -> list[Any]:
    """Return the events of a profile by their start; those that contain others come first."""
    events = made.profiler.kineto_results.events()
    return sorted(events, key=lambda event: (event.start_ns(), -event.duration_ns()))
