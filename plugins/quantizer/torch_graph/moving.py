"""What ONNX operators compute that move values: reshaping, slicing, joining, padding."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

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
        return tuple(torch.split(x, -(-x.shape[axis] // attributes["num_outputs"]), axis))
    return tuple(torch.split(x, sizes, axis))


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
    filled = 0.0 if value is None else float(value)
    mode = attributes.get("mode", "constant")
    for index, axis in enumerate(numbers(axes) or range(half)):
        before, after = amounts[index], amounts[index + half]
        if before < 0 or after < 0:  # negative amounts cut off
            x = x.narrow(axis, max(-before, 0), x.shape[axis] + min(before, 0) + min(after, 0))
            before, after = max(before, 0), max(after, 0)
        if mode == "constant":
            ends = [x.new_full(_with(x.shape, axis, n), filled) for n in (before, after)]
            x = torch.cat([ends[0], x, ends[1]], axis)
        elif before or after:
            length = x.shape[axis]
            places = torch.arange(-before, length + after)
            if mode == "reflect":
                places = (places.abs() - (length - 1)).abs().neg() + length - 1
            elif mode == "wrap":
                places %= length
            x = x.index_select(axis, places.clamp(0, length - 1))
    return (x,)


def _with(shape: Sequence[int], axis: int, length: int) -> list[int]:
    changed = list(shape)
    changed[axis] = length
    return changed


def _expand(_: Attributes, inputs: Inputs) -> tuple[Tensor, ...]:
    x, wanted = inputs[0], numbers(inputs[1]) or []
    # An axis of 1 in `wanted` keeps its length here, which `Tensor.expand` would refuse.
    own = [1] * (len(wanted) - x.dim()) + list(x.shape)
    wanted = [1] * (x.dim() - len(wanted)) + wanted
    return (x.expand([max(pair) for pair in zip(own, wanted, strict=True)]),)


def _shape(attributes: Attributes, inputs: Inputs) -> tuple[Tensor, ...]:
    shape = list(inputs[0].shape)
    return (torch.tensor(shape[attributes.get("start", 0) : attributes.get("end", len(shape))]),)


def _constant_of_shape(attributes: Attributes, inputs: Inputs) -> tuple[Tensor, ...]:
    value = attributes.get("value", torch.zeros(1))
    return (value.expand(numbers(inputs[0]) or []),)


def _where(_: Attributes, inputs: Inputs) -> tuple[Tensor, ...]:
    condition, chosen, otherwise = inputs
    return (torch.where(condition, chosen, otherwise),)


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
    "Shape": _shape,
    "ConstantOfShape": _constant_of_shape,
    "Tile": lambda _, inputs: (inputs[0].repeat(numbers(inputs[1]) or []),),
    "Where": _where,
    "Identity": lambda _, inputs: (inputs[0],),
}
