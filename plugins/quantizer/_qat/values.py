"""The types of all operators here, and the error for an unknown form of an operator."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import Tensor

__all__ = ["Attributes", "Inputs", "Operator", "UnknownFormError", "numbers"]

Attributes = Mapping[str, Any]
Inputs = Sequence[Any]  # tensors, and None where an optional input is left out
Operator = Callable[[Attributes, Inputs], tuple[Tensor, ...]]


class UnknownFormError(Exception):
    """A form of an operator that is not known here, in words."""


def numbers(tensor: Tensor | None) -> list[int] | None:
    """Return the integers that a tensor holds: a shape, axes, amounts."""
    return None if tensor is None else [int(n) for n in tensor.reshape(-1).tolist()]
