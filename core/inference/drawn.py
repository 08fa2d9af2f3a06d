"""Made-up inputs of the types and lengths that a signature declares."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from core.plugin.values import TensorSpec

if TYPE_CHECKING:
    from core.plugin.values import Array

__all__ = ["drawn"]


def drawn(spec: TensorSpec, lengths: Mapping[str, int], seed: int = 0, scale: float = 1.0) -> Array:
    """Return noise of standard deviation `scale` for a float tensor; else zeros and ones.

    `lengths` are those of its free axes. Zeros and ones are valid as masks, and as indices of any
    table with at least two rows.
    """
    import numpy as np

    shape = [
        lengths[axis] if isinstance(length, str) else length
        for axis, length in zip(spec.axes, spec.shape, strict=True)
    ]
    random = np.random.default_rng(seed)
    if spec.is_float:
        # Every float type gets the noise of float32.
        return (random.standard_normal(shape).astype(np.float32) * np.float32(scale)).astype(
            spec.dtype
        )
    return random.integers(0, 2, shape).astype(spec.dtype)
