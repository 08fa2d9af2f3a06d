"""Looks into a float graph while calibration windows stream through it, one window in memory."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from core import InputError, Tensors
from plugins.quantizer._onnx.graph.constants import failures
from plugins.quantizer._onnx.graph.feeding import fitting, refused

if TYPE_CHECKING:
    from plugins.quantizer._onnx.calibration.inner_sums import SumProbe

__all__ = ["Observer", "Seen", "Summed"]


@dataclass
class Seen:
    """The values of one tensor over all windows.

    `peak` is the largest magnitude, infinite where the graph itself overflows. `weakest` is the
    smallest root mean square over one window, of the windows in which it was not 0. `least` is
    the smallest magnitude that is not 0, known only for divisors and their like.
    """

    peak: float = 0.0
    weakest: float = math.inf
    least: float = math.inf


@dataclass
class Summed:
    """The sum inside one node over all windows.

    `largest` is the largest sum of magnitudes (or squares) and `terms` how many are summed;
    `variance` is the smallest that a norm divided by, epsilon included.
    """

    terms: int = 0
    largest: float = 0.0
    variance: float = math.inf


@dataclass
class Observer:
    """A graph opened with more outputs, and what was seen so far by tensor and by node."""

    session: Any
    tensors: list[str]
    sensitive: list[str]
    probes: list[SumProbe]
    seen: dict[str, Seen] = field(default_factory=dict)
    sums: dict[str, Summed] = field(default_factory=dict)
    input_peaks: dict[str, float] = field(default_factory=dict)
    windows: int = 0

    def watch(self, feeds: Tensors) -> None:
        """Run one window and widen what was seen."""
        import numpy as np

        known = {i.name: np.asarray(feeds[i.name]) for i in self.session.get_inputs()}
        names = [output.name for output in self.session.get_outputs()]
        try:
            found = dict(zip(names, self.session.run(names, known), strict=True))
        except failures() as error:
            raise refused("run the graph on a calibration window", error) from error
        for index, tensor in enumerate(self.tensors):
            high, low, squares, size = (
                float(found[f"{mark}.{index}"]) for mark in ("high", "low", "squares", "size")
            )
            entry = self.seen.setdefault(tensor, Seen())
            if not size:  # a tensor of no values has no peak
                continue
            finite = math.isfinite(high) and math.isfinite(low) and not math.isnan(squares)
            entry.peak = max(entry.peak, abs(high), abs(low)) if finite else math.inf
            if finite and squares > 0:
                entry.weakest = min(entry.weakest, math.sqrt(squares / size))
        for index, tensor in enumerate(self.sensitive):
            least = float(found[f"least.{index}"])
            self.seen[tensor].least = min(self.seen[tensor].least, least)
        for probe in self.probes:
            terms, largest, variance = probe.read([np.asarray(found[n]) for n in probe.outputs])
            total = self.sums.setdefault(probe.node, Summed())
            total.terms = max(total.terms, terms)
            total.largest = max(total.largest, largest) if math.isfinite(largest) else math.inf
            total.variance = min(total.variance, variance)
        self.windows += 1

    def stream(self, windows: Iterable[Tensors], gain: float) -> Iterator[int]:
        """Watch every window as it is and `gain` times louder, then silence; yields how many.

        A louder input is clipped at the largest peak that this input has shown so far, which is
        what a recording of too high a level does to a waveform. Raises InputError for a window
        that the graph does not take, or that holds values that are not numbers. Inputs other than
        floats stay as they are: a length or an index of 0 is no silence.
        """
        import numpy as np

        silence: Tensors = {}
        for index, feeds in enumerate(windows):
            fitting(self.session.get_inputs(), feeds, index + 1)
            for name in (i.name for i in self.session.get_inputs()):
                given = feeds[name]
                if not _is_float(given):
                    continue
                if not np.isfinite(given).all():
                    raise InputError(
                        f"calibration window {index + 1} holds nothing usable for `{name}`",
                        "it holds values that are not numbers (NaN or infinite)",
                        "repair or leave out the file, or choose other data: calibration=...",
                    )
                largest = float(np.abs(given).max(initial=0.0))
                self.input_peaks[name] = max(self.input_peaks.get(name, 0.0), largest)
            self.watch(feeds)
            yield self.windows
            self.watch({name: self._louder(name, array, gain) for name, array in feeds.items()})
            yield self.windows
            silence = {n: np.zeros_like(v) if _is_float(v) else v for n, v in feeds.items()}
        if silence:
            self.watch(silence)
            yield self.windows

    def _louder(self, name: str, array: Any, gain: float) -> Any:
        import numpy as np

        if not _is_float(array):
            return array
        limit = self.input_peaks.get(name, 0.0)
        return np.clip(array * array.dtype.type(gain), -limit, limit)


def _is_float(array: Any) -> bool:
    import numpy as np

    return np.issubdtype(np.asarray(array).dtype, np.floating)
