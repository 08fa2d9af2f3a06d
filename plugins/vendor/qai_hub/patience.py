"""The time limits for a job of the service."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Waiting"]


@dataclass(frozen=True)
class Waiting:
    """How often the state of a job is requested, and how long a job may take, in seconds."""

    every_s: float
    limit_s: float

    def __post_init__(self) -> None:
        """Raise ValueError for impossible times."""
        if self.every_s <= 0 or self.limit_s <= 0:
            raise ValueError("`poll_s` and `time_limit_s` must be above 0")
