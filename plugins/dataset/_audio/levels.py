"""Finds samples that are no sound: no numbers, beyond any full scale, integers stored as floats.

Files of integers hold only valid samples. A file of floats can hold anything, and a network
spreads it over the whole song: one NaN silences every stem.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from math import log10
from typing import Any, Literal

from core import Array, InputError, Notice

__all__ = ["Levels", "at"]

#: Float sound that is mixed and not yet mastered reaches this level, +24 dB; more is a mistake.
_LOUD = 16.0
#: The largest full scale that integers in floats can have: of 32 bits.
_LARGEST = 2.0**31
#: Full scale of integers in floats, by their bits.
_SCALES = {16: 2.0**15, 24: 2.0**23, 32: 2.0**31}
#: From this share on, samples beyond `_LOUD` are the sound itself, not an accident in it.
_MANY = 0.01
#: The smallest normal float32; smaller values compute slowly, and lie 750 dB down.
_TINY = 2.0**-126
#: A decoder of a lossy file makes peaks above full scale; from here on they are reported.
_LOSSY_PEAK = 2.0
#: Samples that are checked at once: 4 MB of memory.
_AT_ONCE = 1 << 20


@dataclass
class _Count:
    """How many samples are of a kind, and which is the first: its frame, channel, and value."""

    number: int = 0
    first: tuple[int, int, float] = (0, 0, 0.0)


@dataclass
class Levels:
    """Looks at blocks (time, channel) of a sound, one after the other, and judges the whole.

    `floats` says that the file stores floats; in any other file, a decoder that met damage made
    the faulty samples.
    """

    rate: int
    floats: bool
    frames: int = 0
    size: int = 0
    peak: float = 0.0
    _bad: _Count = field(default_factory=_Count)
    _far: _Count = field(default_factory=_Count)
    _over: _Count = field(default_factory=_Count)
    _tiny: int = 0

    def add(self, block: Array) -> None:
        """Look at the next block."""
        import numpy as np

        for start in range(0, len(block), max(1, _AT_ONCE // block.shape[1])):
            self._add(np.abs(block[start : start + max(1, _AT_ONCE // block.shape[1])]))

    def _add(self, loud: Array) -> None:
        import numpy as np

        peak = float(np.max(loud, initial=0.0))
        if not peak <= 1.0:  # it may be NaN
            bad = ~(loud <= _LARGEST)
            far = ~bad & (loud > _LOUD)
            self._count(self._bad, bad, loud)
            self._count(self._far, far, loud)
            self._count(self._over, ~bad & (loud > 1.0), loud)
            peak = float(np.max(np.where(bad, 0.0, loud)))
        self.peak = max(self.peak, peak)
        if self.floats:
            self._tiny += int(np.count_nonzero((loud > 0) & (loud < _TINY)))
        self.frames += len(loud)
        self.size += loud.size

    def _count(self, count: _Count, those: Any, loud: Array) -> None:
        import numpy as np

        number = int(np.count_nonzero(those))
        if number and not count.number:
            frame, channel = (int(n) for n in np.argwhere(those)[0])
            count.first = self.frames + frame, channel, float(loud[frame, channel])
        count.number += number

    def check(self, name: str, where: str) -> None:
        """Raise InputError for a file of floats whose values are no numbers, or no samples."""
        if not self.floats or not self._bad.number:
            return
        raise InputError(
            f"`{name}` holds values that are not samples: NaN, infinite, or beyond 2^31",
            where,
            f"{self._bad.number:,} of {self.size:,} values, the first at {self._place(self._bad)}",
            "render it again, or repair it in an audio editor",
        )

    def corrected(self, samples: Array, name: str) -> tuple[Array, tuple[Notice, ...]]:
        """Return samples (channel, time) as they are played, changed in place, and what was done.

        Integers stored as floats are scaled to a full scale of 1; single samples that no sound
        reaches are clipped, as every player clips them.
        """
        import numpy as np

        told = [*self._loudness()]
        if self._bad.number:
            np.nan_to_num(samples, copy=False, nan=0.0, posinf=1.0, neginf=-1.0)
        if self._scaled:
            samples *= np.float32(1 / _SCALES[self._scaled])
        elif self._far.number or self._bad.number:
            for row in samples:
                np.copyto(row, np.sign(row), where=np.abs(row) > _LOUD)
        if self._tiny:
            for row in samples:
                row[np.abs(row) < _TINY] = 0.0
        return samples, tuple(Notice(kind, f"`{name}` {text}") for kind, text in told)

    @property
    def _scaled(self) -> int:
        """Return the bits of integers that the file stores as floats; 0 where it stores samples."""
        if self._far.number <= _MANY * self.size:
            return 0
        return next(bits for bits, scale in _SCALES.items() if self.peak <= 2 * scale)

    def _loudness(self) -> Iterator[tuple[Literal["info", "warning"], str]]:
        """Yield the messages about the samples' size, and what is done about it."""
        if self._bad.number:
            yield (
                "warning",
                (
                    f"is damaged: {self._bad.number:,} decoded samples are not valid, the first at "
                    f"{self._place(self._bad)}: NaN becomes silence, the rest full scale"
                ),
            )
        bits = self._scaled
        if bits:
            yield (
                "warning",
                (
                    f"holds samples up to {self.peak:,.0f} where full scale is 1: they are read "
                    f"as integers of {bits} bits and divided by {_SCALES[bits]:,.0f}"
                ),
            )
        elif self._far.number:
            yield (
                "warning",
                (
                    f"has {self._far.number:,} samples beyond 16 times full scale, the first "
                    f"({self._far.first[2]:.4g}) at {self._place(self._far)}: they are clipped"
                ),
            )
        elif self.peak > (1.0 if self.floats else _LOSSY_PEAK):
            text = (
                f"peaks at {self.peak:.4g}, {20 * log10(self.peak):.1f} dB above full scale "
                f"({self._over.number:,} samples, the first at {self._place(self._over)}): it is "
                "played unchanged; other players clip it"
            )
            yield ("warning" if self.peak > _LOSSY_PEAK else "info"), text
        if self._tiny:
            yield "info", f"has {self._tiny:,} samples too small for a normal number: they are 0"
        if self.peak < _TINY:
            yield "warning", "is silent from its beginning to its end"

    def _place(self, count: _Count) -> str:
        frame, channel, _ = count.first
        return f"{at(frame / self.rate)}, channel {channel + 1}"


def at(seconds: float) -> str:
    """Return a place in a sound as a player shows it, to a thousandth: `1:02.345`."""
    minutes, rest = divmod(round(seconds * 1000), 60_000)
    return f"{minutes}:{rest / 1000:06.3f}"
