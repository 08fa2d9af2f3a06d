"""ONNX operators that move values, in PyTorch: reshaping, slicing, joining, padding."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from plugins.quantizer._qat.values import Attributes, Inputs, Operator, UnknownFormError, numbers

__all__ = ["MOVING"]


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
    x, sizes = (*inputs, None)[:2]
    axis = attributes.get("axis", 0)
    if sizes is None:  # all parts are equal but the last, which takes what is left
        parts = attributes.get("num_outputs", attributes.get("_outputs", 1))
        return tuple(torch.split(x, -(-x.shape[axis] // parts), axis))
    return tuple(torch.split(x, numbers(sizes) or [], axis))


def _squeeze(_: Attributes, inputs: Inputs) -> tuple[Tensor, ...]:
    x, axes = (*inputs, None)[:2]
    return (x.squeeze() if axes is None else x.squeeze(numbers(axes)),)


def _unsqueeze(_: Attributes, inputs: Inputs) -> tuple[Tensor, ...]:
    x, axes = inputs[0], numbers(inputs[1]) or []
    rank = x.dim() + len(axes)
    for axis in sorted(a % rank for a in axes):
        x = x.unsqueeze(axis)
    return (x,)


def _pad(attributes: Attributes, inputs: Inputs) -> tuple[Tensor, ...]:
    x, pads, value, axes = (*inputs, None, None)[:4]
    amounts = numbers(pads) or []
    half = len(amounts) // 2
    filled = 0.0 if value is None else float(value)
    mode = attributes.get("mode", "constant")
    if mode not in ("constant", "edge", "reflect", "wrap"):
        raise UnknownFormError(f"its mode is `{mode}`")
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
    return (x.expand([w if o == 1 else o for o, w in zip(own, wanted, strict=True)]),)


def _shape(attributes: Attributes, inputs: Inputs) -> tuple[Tensor, ...]:
    shape = list(inputs[0].shape)
    return (torch.tensor(shape[attributes.get("start", 0) : attributes.get("end", len(shape))]),)


def _constant_of_shape(attributes: Attributes, inputs: Inputs) -> tuple[Tensor, ...]:
    value = attributes.get("value", torch.zeros(1))
    return (value.expand(numbers(inputs[0]) or []),)


def _flatten(attributes: Attributes, inputs: Inputs) -> tuple[Tensor, ...]:
    x, axis = inputs[0], attributes.get("axis", 1)
    axis = axis + x.dim() if axis < 0 else axis
    rows = 1
    for length in x.shape[:axis]:
        rows *= length
    return (x.reshape(rows, x.numel() // rows if rows else 0),)


def _range(_: Attributes, inputs: Inputs) -> tuple[Tensor, ...]:
    first, last, step = inputs
    return (torch.arange(first.item(), last.item(), step.item(), dtype=first.dtype),)


def _eye_like(attributes: Attributes, inputs: Inputs) -> tuple[Tensor, ...]:
    if "dtype" in attributes:
        raise UnknownFormError("it gives another type than it takes")
    x = inputs[0]
    ones = torch.ones(x.shape, dtype=torch.bool)
    diagonal = attributes.get("k", 0)
    return ((ones.triu(diagonal) & ones.tril(diagonal)).to(x.dtype),)


MOVING: Mapping[str, Operator] = {
    "Reshape": _reshape,
    "Transpose": _transpose,
    "Slice": _slice,
    "Split": _split,
    "Squeeze": _squeeze,
    "Unsqueeze": _unsqueeze,
    "Concat": lambda attributes, inputs: (torch.cat(list(inputs), attributes["axis"]),),
    "Pad": _pad,
    "EyeLike": _eye_like,
    "Expand": _expand,
    "Flatten": _flatten,
    "Range": _range,
    "Size": lambda _, inputs: (torch.tensor(inputs[0].numel()),),
    "Shape": _shape,
    "ConstantOfShape": _constant_of_shape,
    "Tile": lambda _, inputs: (inputs[0].repeat(numbers(inputs[1]) or []),),
    "Identity": lambda _, inputs: (inputs[0],),
}
