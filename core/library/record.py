"""The record of a library: what was played, what was not, and how long it took."""

from __future__ import annotations

from dataclasses import dataclass

from core.values import Notice

__all__ = ["Failed", "LibraryRecord"]


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
