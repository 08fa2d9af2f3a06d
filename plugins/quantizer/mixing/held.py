"""Holds a few windows of the calibration data back, so that ranges do not see what is measured."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from core import Calibration

if TYPE_CHECKING:
    from core.values import Tensors

__all__ = ["HeldBack"]


class HeldBack:
    """Calibration data in two: `windows`, spread evenly over the stream, and the `others`.

    The windows are collected while the others are read. `enough` is false for a stream too short
    to hold any back: then it gives all to both.
    """

    def __init__(self, calibration: Calibration, count: int) -> None:
        self.windows: list[Tensors] = []
        self._feeds = calibration.feeds
        self._step = max(1, calibration.count // count)
        held = len(range(self._step // 2, calibration.count, self._step))
        self.enough = self._step > 1
        self.others = Calibration(calibration.count - held * self.enough, self._others)

    def _others(self) -> Iterator[Tensors]:
        self.windows.clear()
        window: Tensors | None = None
        for index, window in enumerate(self._feeds()):
            if index % self._step == self._step // 2:
                self.windows.append(window)
                if self.enough:
                    continue
            yield window
        if not self.windows and window is not None:
            self.windows.append(window)
