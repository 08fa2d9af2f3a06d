"""Turns calibration windows into a program's arguments."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from core import Calibration, ModelInfo, Progress
from plugins.quantizer._windows import finite

if TYPE_CHECKING:
    import torch


__all__ = ["windows"]


def windows(
    calibration: Calibration, info: ModelInfo, progress: Progress
) -> Iterator[tuple[torch.Tensor, ...]]:
    """Yield the core's inputs of every window, one window in memory at a time.

    Raises InputError for a window that holds a NaN or an infinity, and where there are none.
    """
    import torch

    for index, feeds in enumerate(finite(calibration), 1):
        # Copies: an array may have negative strides, which PyTorch rejects.
        yield tuple(torch.from_numpy(feeds[name].copy()) for name in info.core_inputs)
        progress(index, calibration.count, "calibrating: ranges of every quantised tensor")
