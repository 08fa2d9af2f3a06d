"""What the ONNX operators that move values compute: reshaping, slicing, joining, padding."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

__all__ = ["MOVING", "numbers"]

Attributes = Mapping[str, Any]
Inputs = Sequence[Any]  # tensors, and None where an optional input is left out


def numbers(tensor: Tensor | None) -> list[int] | None:
    """Return the whole numbers that a tensor holds: a shape, axes, amounts."""
    return None if tensor is None else [int(n) for n in tensor.reshape(-1).tolist()]


def _reshape(attributes: Attributes, inputs: Inputs) -> tuple[Tensor, ...]:
    x, shape = inputs[0], numbers(inputs[1]) or []
    if not attributes.get("allowzero", 0):
        shape = [x.shape[i] if n == 0 else n for i, n in enumerate(shape)]
    return (x.reshape(shape),)


def _transpose(attributes: Attributes, inputs: Inputs) -> tuple[Tensor, ...]:
    x = inputs[0]
    return (x.permute(attributes.get("perm", list(reversed(range(x.dim()))))),)


def _slice(_: Attributes, inputs: Inputs) -> tuple[Tensor, ...]:
    x, starts, ends, axes, steps = (*inputs, None, None)[:5]
    first, last = numbers(starts) or [], numbers(ends) or []
    along = numbers(axes) or list(range(len(first)))
    by = numbers(steps) or [1] * len(first)
    for start, end, axis, step in zip(first, last, along, by, strict=True):
        indices = range(x.shape[axis])[start:end:step]
        if step == 1:
            x = x.narrow(axis, indices.start, len(indices))
        else:
            x = x.index_select(axis, torch.tensor(list(indices)))
    return (x,)


def _split(attributes: Attributes, inputs: Inputs) -> tuple[Tensor, ...]:
    x, sizes = inputs[0], numbers(inputs[1]) if len(inputs) > 1 else None
    axis = attributes.get("axis", 0)
    if sizes is None:  # all parts are equal but the last, which takes what is left
        return x.split(-(-x.shape[axis] // attributes["num_outputs"]), axis)
    return x.split(sizes, axis)


def _squeeze(_: Attributes, inputs: Inputs) -> tuple[Tensor, ...]:
    x, axes = (*inputs, None)[:2]
    return (x.squeeze() if axes is None else x.squeeze(numbers(axes)),)


def _unsqueeze(_: Attributes, inputs: Inputs) -> tuple[Tensor, ...]:
    x, axes = inputs[0], numbers(inputs[1]) or []
    rank = x.dim() + len(axes)
    for axis in sorted(a % rank for a in axes):
        x = x.unsqueeze(axis)
    return (x,)


def _gather(attributes: Attributes, inputs: Inputs) -> tuple[Tensor, ...]:
    x, indices = inputs
    axis = attributes.get("axis", 0)
    flat = indices.reshape(-1) % x.shape[axis]
    axis %= x.dim()
    shape = (*x.shape[:axis], *indices.shape, *x.shape[axis + 1 :])
    return (x.index_select(axis, flat).reshape(shape),)


def _pad(attributes: Attributes, inputs: Inputs) -> tuple[Tensor, ...]:
    x, pads, value, axes = (*inputs, None, None)[:4]
    amounts = numbers(pads) or []
    half = len(amounts) // 2
    table = dict.fromkeys(range(x.dim()), (0, 0))
    for index, axis in enumerate(numbers(axes) or range(half)):
        table[axis % x.dim()] = (amounts[index], amounts[index + half])
    turned = [n for axis in reversed(range(x.dim())) for n in table[axis]]
    mode = {"edge": "replicate", "wrap": "circular"}.get(
        found := attributes.get("mode", "constant"), found
    )
    filled = 0.0 if value is None else float(value)
    return (functional.pad(x, turned, mode, filled if mode == "constant" else None),)


def _expand(_: Attributes, inputs: Inputs) -> tuple[Tensor, ...]:
    shape = torch.broadcast_shapes(inputs[0].shape, numbers(inputs[1]) or ())
    return (inputs[0].expand(shape),)


MOVING: Mapping[str, Callable[[Attributes, Inputs], tuple[Tensor, ...]]] = {
    "Reshape": _reshape,
    "Transpose": _transpose,
    "Slice": _slice,
    "Split": _split,
    "Squeeze": _squeeze,
    "Unsqueeze": _unsqueeze,
    "Concat": lambda attributes, inputs: (torch.cat(list(inputs), attributes["axis"]),),
    "Gather": _gather,
    "Pad": _pad,
    "Expand": _expand,
    "Identity": lambda _, inputs: (inputs[0],),
}
