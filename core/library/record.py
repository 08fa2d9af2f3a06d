"""The record of a library: what was played, what was not, and how long it took."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from core.values import Notice

__all__ = ["Failed", "LibraryRecord", "named", "passed_over"]

#: How many songs a line of text names; the manifest has them all.
NAMED = 5


@dataclass(frozen=True)
class Failed:
    """A song that could not be played: its path below the library's root, and why."""

    source: str
    reason: str
    retries: int = 0


@dataclass(frozen=True)
class LibraryRecord:
    """One run over a library.

    Of `songs` in all, `played` were played by this run and `kept` by earlier ones. `audio_s` are
    the seconds of sound of those that were played, 0 where inputs have no rate; `seconds` is what
    playing took, opening the model included, in `processes`, those that died among them.
    """

    recipe: str
    title: str
    started: str
    seconds: float
    songs: int
    played: int
    kept: int
    failed: tuple[Failed, ...]
    audio_s: float
    processes: int
    device: str
    notices: tuple[Notice, ...]

    @property
    def real_time_factor(self) -> float | None:
        """Return seconds per second of sound; None where there is nothing to compare."""
        return self.seconds / self.audio_s if self.audio_s and self.seconds else None


def named(sources: Sequence[str]) -> str:
    """Return the first few songs of a list, and how many more there are."""
    more = len(sources) - NAMED
    return ", ".join(sources[:NAMED]) + (f" and {more} more" if more > 0 else "")


def passed_over(lines: int) -> str:
    """Return what to say of lines of a manifest that do not count."""
    return (
        f"passed over in the manifest: {lines} lines that are not as they were written, or that "
        "name a place outside the library; songs that only they tell of are played again"
    )
