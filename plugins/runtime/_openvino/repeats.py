"""Checks that a device gives the same result for the same window, whatever it computed before."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from core.errors import StageError
from core.measure.metrics import snr_db

if TYPE_CHECKING:
    from core.plugin.values import Array, Tensors

__all__ = ["check_repeats", "windows_for"]

#: Sums in another order differ by less: a device's threads may add in any order.
LEAST_DB = 60.0


def windows_for(shapes: Mapping[str, tuple[Sequence[int], str]]) -> list[Tensors]:
    """Return two windows of noise for inputs of these shapes and types; zeros for whole numbers.

    Whole numbers may be indices, for which only 0 is sure to be valid.
    """
    import numpy as np

    def filled(shape: Sequence[int], dtype: str, seed: int) -> Array:
        if not dtype.startswith("float"):
            return np.zeros(shape, dtype)
        return np.random.default_rng(seed).standard_normal(shape).astype(dtype)

    return [{n: filled(*about, seed) for n, about in shapes.items()} for seed in (0, 1)]


def check_repeats(run: Callable[[Tensors], Tensors], windows: list[Tensors], device: str) -> None:
    """Run the first window, the second, and the first again; raises StageError if it changed.

    Some devices keep state from one call to the next that the graph does not have.
    """
    first, second = windows
    before = run(first)
    run(second)
    again = run(first)
    for name, expected in before.items():
        found = snr_db(expected, again[name])
        if not found >= LEAST_DB:  # also where it is not a number
            raise StageError(
                f"{device} gives another result for the same window after another window: "
                f"`{name}` agrees by {found:.1f} dB, and at least {LEAST_DB:g} dB are needed",
                "the device keeps state between calls that the graph does not have",
                "update the device's driver, or compute on the processor: runtime.device=CPU",
            )
