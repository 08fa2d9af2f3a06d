"""Turns calibration windows into a program's arguments."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from core import Calibration, InputError

if TYPE_CHECKING:
    import torch

    from core import ModelInfo
    from core.progress import Progress

__all__ = ["windows"]


def windows(
    calibration: Calibration, info: ModelInfo, progress: Progress
) -> Iterator[tuple[torch.Tensor, ...]]:
    """Yield the core's inputs of every window, one window in memory at a time.

    Raises InputError for a window that holds a NaN or an infinity, and where there are none.
    """
    import numpy as np
    import torch

    index = 0
    for index, feeds in enumerate(calibration.feeds(), 1):
        for name in info.core_inputs:
            finite = np.isfinite(feeds[name])
            if not finite.all():
                raise InputError(
                    f"calibration window {index} holds values that are not numbers "
                    f"(NaN or infinite) in `{name}`",
                    f"{int((~finite).sum())} of {finite.size} values",
                    "repair or leave out the file, or choose other data: calibration=...",
                )
        yield tuple(torch.from_numpy(feeds[name]) for name in info.core_inputs)
        progress(index, calibration.count, "calibrating: ranges of every quantised tensor")
    if index == 0:
        raise InputError("the calibration data has no windows", "give it data: calibration=...")
