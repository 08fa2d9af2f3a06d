"""Made-up inputs of the types, lengths and ranges that a signature declares."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

from core.plugin.values import TensorSpec

if TYPE_CHECKING:
    from core.plugin.values import Array

__all__ = ["drawn"]


def drawn(spec: TensorSpec, lengths: Mapping[str, int], seed: int = 0, scale: float = 1.0) -> Array:
    """Return values from the tensor's range; without one noise for floats, else zeros and ones.

    The noise has a standard deviation of `scale`. `lengths` are those of the free axes. Zeros and
    ones are valid as masks, and as indices of any table with at least two rows.
    """
    import numpy as np

    shape = [
        lengths[axis] if isinstance(length, str) else length
        for axis, length in zip(spec.axes, spec.shape, strict=True)
    ]
    random = np.random.default_rng(seed)
    if spec.is_float and spec.range is None:
        # Every float type gets the noise of float32.
        noise = np.asarray(random.standard_normal(shape), np.float32)
        return (noise * np.float32(scale)).astype(spec.dtype)
    low, high = spec.range or (0, 1)
    if spec.is_float:
        return np.asarray(random.uniform(low, high, shape), spec.dtype)
    return np.asarray(
        random.integers(math.ceil(low), math.floor(high), shape, endpoint=True), spec.dtype
    )
