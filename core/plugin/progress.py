"""How a plugin reports its progress: one small interface, observed by the reporters."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

__all__ = ["Progress", "silent"]


@dataclass(frozen=True)
class Progress:
    """Tells the reporters how far a stage is; call it as often as you like.

    `emit` receives (done, total, message); a total of 0 means that the end is not known.
    """

    emit: Callable[[float, float, str], None]

    def __call__(self, done: float, total: float = 0, message: str = "") -> None:
        """Say that `done` of `total` units are finished, and what is being waited for."""
        self.emit(done, total, message)


def silent() -> Progress:
    """Return a progress that reports to nobody, for tests and for use as a library."""
    return Progress(lambda _done, _total, _message: None)
