"""Limits of length and rate: sizes that a file declares are bounded before it is decoded."""

from __future__ import annotations

import math
from pathlib import Path

from core import InputError
from core.machine.program import quoted

__all__ = ["CHANNELS", "MAX_MINUTES", "check_bound", "check_length", "check_rate", "most_values"]

#: Hz. A damaged header can hold any number, and resampling from it would fill the memory.
RATES = (1_000, 768_000)
#: A song has no more: a file does not reliably say which of more channels is which.
CHANNELS = 2
#: Minutes of stereo at 48 kHz that are read at most, unless an option says otherwise: 5.5 GB. A
#: few hundred kilobytes of compressed silence can stand for days of it.
MAX_MINUTES = 240.0
#: Values a second of stereo at 48 kHz; sound of more values is that much "longer".
_USUAL = 2 * 48_000


def check_bound(minutes: float) -> None:
    """Raise ValueError for an option `max_minutes` that bounds nothing."""
    if not 0 < minutes < math.inf:
        raise ValueError(f"`max_minutes` is {minutes}: give a number above 0")


def check_rate(path: Path, rate: int) -> None:
    """Raise InputError for an impossible sample rate."""
    if not RATES[0] <= rate <= RATES[1]:
        raise InputError(
            f"`{path.name}` says that its sample rate is {rate} Hz",
            f"at: {path}",
            f"possible: {RATES[0]} to {RATES[1]} Hz",
            "re-encode it at its true rate",
        )


def most_values(minutes: float) -> int:
    """Return how many samples, of all channels, so many minutes of stereo at 48 kHz have."""
    return math.floor(60 * minutes * _USUAL)


def check_length(path: Path, frames: int, rate: int, channels: int, max_minutes: float) -> None:
    """Raise InputError for sound that is longer than the limit."""
    seconds = max(frames / rate, frames * channels / _USUAL)
    if seconds <= 60 * max_minutes:
        return
    told = f"{frames / rate / 60:,.0f} minutes at {rate:,} Hz"
    raise InputError(
        f"`{path.name}` says that it holds {told}, in a file of {_size(path)}",
        f"at: {path}",
        f"possible: up to {max_minutes:g} minutes of stereo at 48,000 Hz, or the same memory: 23 "
        "MB per minute for the song, and 23 MB more for every stem",
        f"cut it into parts: ffmpeg -i {quoted([path.name])} -f segment -segment_time 3600 "
        "part%03d.wav",
        f"or allow it: dataset.max_minutes={math.ceil(seconds / 60)}",
    )


def _size(path: Path) -> str:
    size = path.stat().st_size
    return f"{size / 1e6:,.1f} MB" if size >= 1e5 else f"{size:,} bytes"  # noqa: PLR2004  # 0.1 MB
