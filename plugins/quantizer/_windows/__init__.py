"""Calibration windows, checked on their way into any quantizer that collects ranges from them."""

from __future__ import annotations

from collections.abc import Iterator

from core import Calibration, InputError, Tensors

__all__ = ["finite"]


def finite(calibration: Calibration) -> Iterator[Tensors]:
    """Yield the windows, one in memory at a time.

    Raises InputError for the first window that holds a NaN or an infinity, and where there is none.
    """
    import numpy as np

    index = 0
    for index, feeds in enumerate(calibration.feeds(), 1):
        for name, array in feeds.items():
            if not np.isfinite(array).all():
                raise InputError(
                    f"calibration window {index} holds values that are not numbers "
                    f"(NaN or infinite) in `{name}`",
                    f"{int((~np.isfinite(array)).sum())} of {array.size} values",
                    "repair or leave out the file, or choose other data: calibration=...",
                )
        yield feeds
    if index == 0:
        raise InputError("the calibration data has no windows", "give it data: calibration=...")
