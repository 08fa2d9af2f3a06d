"""How long a job of the service is waited for."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Waiting"]


@dataclass(frozen=True)
class Waiting:
    """How often the state of a job is asked for, and how long a job is waited for, in seconds."""

    every_s: float
    limit_s: float

    def __post_init__(self) -> None:
        """Raise ValueError where waiting could not be."""
        if self.every_s <= 0 or self.limit_s <= 0:
            raise ValueError("`poll_s` and `time_limit_s` must be above 0")
