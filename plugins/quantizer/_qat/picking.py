"""ONNX operators that pick values by their places, or put them there, in PyTorch."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from plugins.quantizer._qat.values import Attributes, Inputs, Operator, UnknownFormError

__all__ = ["PICKING"]

#: How several values at one place are reduced, in ONNX's words and in PyTorch's.
REDUCTIONS = {"add": "sum", "mul": "prod", "max": "amax", "min": "amin"}


def _gather(attributes: Attributes, inputs: Inputs) -> tuple[Tensor, ...]:
    x, indices = inputs
    axis = attributes.get("axis", 0) % x.dim()
    flat = _counted(indices, x.shape[axis]).reshape(-1)
    shape = (*x.shape[:axis], *indices.shape, *x.shape[axis + 1 :])
    return (x.index_select(axis, flat).reshape(shape),)


def _gather_elements(attributes: Attributes, inputs: Inputs) -> tuple[Tensor, ...]:
    x, indices = inputs
    axis = attributes.get("axis", 0)
    return (x.gather(axis, _counted(indices, x.shape[axis])),)


def _gather_nd(attributes: Attributes, inputs: Inputs) -> tuple[Tensor, ...]:
    x, indices = inputs
    batch = attributes.get("batch_dims", 0)
    deep = indices.shape[-1]
    places = [_counted(indices[..., i], x.shape[batch + i]) for i in range(deep)]
    for axis in range(batch):  # each index picks in its own part of the batch
        shape = [1] * (indices.dim() - 1)
        shape[axis] = -1
        places.insert(axis, torch.arange(x.shape[axis]).reshape(shape))
    return (x[tuple(places)],)


def _scatter_elements(attributes: Attributes, inputs: Inputs) -> tuple[Tensor, ...]:
    x, indices, updates = inputs
    axis = attributes.get("axis", 0)
    places = _counted(indices, x.shape[axis])
    how = attributes.get("reduction", "none")
    if how == "none":
        return (x.scatter(axis, places, updates),)
    return (x.scatter_reduce(axis, places, updates, REDUCTIONS[how], include_self=True),)


def _scatter_nd(attributes: Attributes, inputs: Inputs) -> tuple[Tensor, ...]:
    x, indices, updates = inputs
    deep, how = indices.shape[-1], attributes.get("reduction", "none")
    places = tuple(_counted(indices[..., i], x.shape[i]) for i in range(deep))
    if how not in ("none", "add"):
        raise UnknownFormError(f"it takes the {how} of several values at one place")
    return (x.index_put(places, updates, accumulate=how == "add"),)


def _counted(indices: Tensor, length: int) -> Tensor:
    """Return places from the beginning; those below 0 count from the end."""
    indices = indices.long()
    return torch.where(indices < 0, indices + length, indices)


def _top_k(attributes: Attributes, inputs: Inputs) -> tuple[Tensor, ...]:
    x, count = inputs[0], int(inputs[1])
    axis, largest = attributes.get("axis", -1), bool(attributes.get("largest", 1))
    # ONNX takes the first of equal values, as a stable sort does and `topk` does not.
    values, places = x.sort(stable=True, dim=axis, descending=largest)
    return values.narrow(axis, 0, count), places.narrow(axis, 0, count)


def _one_hot(attributes: Attributes, inputs: Inputs) -> tuple[Tensor, ...]:
    indices, depth, values = inputs
    length = int(depth)
    axis = attributes.get("axis", -1) % (indices.dim() + 1)
    shape = [1] * (indices.dim() + 1)
    shape[axis] = length
    hot = _counted(indices, length).unsqueeze(axis) == torch.arange(length).reshape(shape)
    return (torch.where(hot, values[1], values[0]),)


def _nonzero(_: Attributes, inputs: Inputs) -> tuple[Tensor, ...]:
    return (torch.nonzero(inputs[0]).t(),)


def _triangle(attributes: Attributes, inputs: Inputs) -> tuple[Tensor, ...]:
    x, diagonal = (*inputs, None)[:2]
    function = torch.triu if attributes.get("upper", 1) else torch.tril
    # A product with a mask of ones would turn a masked infinity into NaN.
    kept = function(torch.ones(x.shape[-2:], dtype=torch.bool), int(diagonal or 0))
    return (torch.where(kept, x, torch.zeros((), dtype=x.dtype)),)


def _where(_: Attributes, inputs: Inputs) -> tuple[Tensor, ...]:
    condition, chosen, otherwise = inputs
    return (torch.where(condition, chosen, otherwise),)


PICKING: Mapping[str, Operator] = {
    "Gather": _gather,
    "GatherElements": _gather_elements,
    "GatherND": _gather_nd,
    "NonZero": _nonzero,
    "OneHot": _one_hot,
    "ScatterElements": _scatter_elements,
    "ScatterND": _scatter_nd,
    "TopK": _top_k,
    "Trilu": _triangle,
    "Where": _where,
}
