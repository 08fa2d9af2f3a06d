"""Holds calibration data back, so that ranges do not see the data that a result is tested on."""

from __future__ import annotations

from collections.abc import Iterator

from core import Calibration, Tensors

__all__ = ["HELD_BACK", "HeldBack", "held_windows"]

#: About one window in so many is held back where the rest is learned from.
HELD_BACK = 6


def held_windows(calibration: Calibration, count: int) -> list[int]:
    """Return the indices of about `count` windows to hold back, spread evenly over the stream.

    Whole items are held back where there are several: windows of one song are alike, so a song
    that was calibrated on tests nothing new. From a stream of one item, single windows are held
    back; from a stream too short, none. The item that is loudest at an input is calibrated on, and
    its neighbour held back: ranges without it do not ship, so a test on it would not judge the
    ranges that do.
    """
    each = calibration.per_item
    if not 0 < each < calibration.count:
        each = 1
    items = -(-calibration.count // each)
    step = items // max(1, round(count / each))
    if step <= 1:
        return []
    loudest = _loudest(calibration, each)
    held: list[int] = []
    for item in range(step // 2, items, step):
        free = [other for other in range(items) if other not in loudest and other not in held]
        _, nearest = min(((abs(other - item), other) for other in free), default=(0, item))
        held.append(nearest)
    return [i for i in range(calibration.count) if i // each in held]


def _loudest(calibration: Calibration, each: int) -> set[int]:
    """Return the items, of `each` windows, that reach farthest at some input."""
    import numpy as np

    peaks: dict[str, tuple[float, int]] = {}
    for index, feeds in enumerate(calibration.feeds()):
        for name, values in feeds.items():
            found = np.asarray(values)
            peak = float(np.abs(found[np.isfinite(found)]).max(initial=0))
            peaks[name] = max(peaks.get(name, (0.0, 0)), (peak, index // each))
    return {item for peak, item in peaks.values() if peak}


class HeldBack:
    """Calibration data in two parts: the `windows` that are held back, and the `others`.

    The windows are collected while the others are read. `enough` is false for a stream too short
    to hold any back: then both parts hold all windows.
    """

    def __init__(self, calibration: Calibration, count: int) -> None:
        self.windows: list[Tensors] = []
        self._feeds = calibration.feeds
        self._held = frozenset(held_windows(calibration, count))
        self.enough = bool(self._held)
        self.others = Calibration(calibration.count - len(self._held), self._others)

    def _others(self) -> Iterator[Tensors]:
        self.windows.clear()
        window: Tensors | None = None
        for index, window in enumerate(self._feeds()):
            if not self.enough or index in self._held:
                self.windows.append(window)
            if index not in self._held:
                yield window
        if not self.windows and window is not None:
            self.windows.append(window)
