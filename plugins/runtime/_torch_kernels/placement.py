"""Counts the operators that PyTorch runs, by device and precision, as its dispatcher sees them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from core import Placed, Placement
from plugins.runtime._torch_kernels.devices import Device

__all__ = ["operators_of"]

SOURCE = "PyTorch's dispatcher"
#: Names of types, as a person says them; other types keep their own.
PRECISIONS = {
    "float32": "fp32", "float16": "fp16", "bfloat16": "bf16", "float64": "fp64",
    "int8": "int8", "uint8": "int8", "quint8": "int8", "qint8": "int8",
}  # fmt: skip
#: Operators on integers, whose result may be a float: those of these namespaces, and these.
INTEGERS, INTEGER = frozenset({"onednn", "quantized"}), frozenset({"_int_mm"})
#: Operators that only convert, copy or allocate: those of these namespaces, and these. A batch norm
#: allocates bytes that it does not use.
CONVERSIONS = frozenset({"quantized_decomposed", "torchao"})
CONVERSION = frozenset(
    {
        "_to_copy",
        "alias",
        "clone",
        "copy_",
        "detach",
        "empty",
        "empty_like",
        "empty_strided",
        "lift_fresh",
        "lift_fresh_copy",
        "new_empty",
        "new_empty_strided",
        "_unsafe_view",
    }
)
#: Nodes that a placement names.
NAMED = 36


def operators_of(
    call: Callable[[], object],
    floats: Sequence[tuple[str, str]] = (),
    asked: Device = Device.cpu,
    widened: Counter[str] | None = None,
) -> Placement:
    """Return what computed the operators that `call` runs, except those that only give a view.

    `floats` are operators of a program that should compute on integers and compute in floats: the
    name and the operator of each. `widened` counts, while `call` runs, products of 16 bits that
    compute in FP32 and should not.
    """
    from torch.utils._python_dispatch import TorchDispatchMode

    computing: Counter[tuple[str, str]] = Counter()
    others: Counter[tuple[str, str]] = Counter()

    class Counting(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch gives no type
        def __torch_dispatch__(
            self, func: Any, types: Any, args: Any = (), kwargs: Any = None
        ) -> Any:
            result = func(*args, **(kwargs or {}))
            tensor = _first(result)
            if tensor is None:
                return result
            space, name, *_ = str(func).split(".")
            integer = space in INTEGERS or name in INTEGER
            kind = str(tensor.dtype).removeprefix("torch.")
            precision = "int8" if integer else PRECISIONS.get(kind, kind)
            idle = func.is_view or space in CONVERSIONS or name in CONVERSION
            (others if idle else computing)[tensor.device.type, precision] += 1
            return result

    if widened is not None:
        widened.clear()
    with Counting():  # type: ignore[no-untyped-call]  # see above
        call()
    named = [*floats, *(("", kind) for kind in (widened or Counter[str]()).elements())]
    placed = []
    left = min(len(named), computing["cpu", "fp32"])
    if left:
        computing["cpu", "fp32"] -= left
        placed.append(Placed("CPU", left, "fp32", asked=False))
    for (device, precision), count in (+computing or others).most_common():
        placed.append(Placed(device.upper(), count, precision, asked=device == asked.name))
    return Placement(SOURCE, tuple(placed), tuple(named[: min(left, NAMED)]))


def _first(result: Any) -> Any:
    """Return the first tensor of a result; None where there is none."""
    import torch

    if isinstance(result, torch.Tensor):
        return result
    if isinstance(result, tuple | list):
        return next((one for one in map(_first, result) if one is not None), None)
    return None
