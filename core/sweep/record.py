"""The record of a sweep: everything that its table and its page may show."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from core.machine_load import Load

__all__ = ["Axis", "Figure", "Point", "Status", "SweepRecord", "label_of"]

#: done: ran, and held its contract, if there is one; missed: ran, and did not hold it;
#: refused: the plan, or a device's compiler, has no room for it; failed: a stage failed.
Status = Literal["done", "missed", "refused", "failed"]


@dataclass(frozen=True)
class Axis:
    """One key that the sweep varies, with its values as they stand on the command line."""

    key: str
    values: tuple[str, ...]


@dataclass(frozen=True)
class Figure:
    """One measure that points are compared by.

    `objective` says that the front is drawn over it; the first objective is the quality. `plotted`
    figures are worth a picture against it all the same.
    """

    name: str
    title: str
    unit: str
    better: Literal["higher", "lower"]
    objective: bool = False
    plotted: bool = False


@dataclass(frozen=True)
class Point:
    """One combination of values, and what became of it.

    `figures` holds what was measured, by the figure's name, and `devices` on what. Of times,
    `spreads` holds the 5th and the 95th percentile, and `load` what other processes did meanwhile;
    None where that cannot be told. `folder` is its run folder, relative to that of the sweep, empty
    where it left none; `command` makes it again.
    `ran` names the steps that this point computed; what it took from the store is in `kept`.
    `front` says that no other point beats it in every objective.
    """

    number: int
    values: dict[str, str]
    status: Status
    command: str
    why: str = ""
    figures: dict[str, float] = field(default_factory=dict)
    devices: dict[str, str] = field(default_factory=dict)
    folder: str = ""
    ran: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()
    seconds: float = 0.0
    front: bool = False
    spreads: dict[str, tuple[float, float]] = field(default_factory=dict)
    load: Load | None = None

    @property
    def under_load(self) -> bool:
        """Return whether other processes slowed down what was timed."""
        return self.load is not None and self.load.heavy

    @property
    def label(self) -> str:
        """Return the values in a line: `length=22050 precision=int8`."""
        return label_of(self.values)


@dataclass(frozen=True)
class SweepRecord:
    """One whole sweep.

    `winner` is the number of the point that is taken, None where none holds; `why` says why.
    `notices` are what a person must know, `command` is the sweep itself.
    """

    recipe: str
    title: str
    command: str
    started: str
    seconds: float
    axes: tuple[Axis, ...]
    figures: tuple[Figure, ...]
    points: tuple[Point, ...]
    winner: int | None
    why: str
    machine: str
    versions: dict[str, str]
    contract: dict[str, float] = field(default_factory=dict)
    notices: tuple[str, ...] = ()


def label_of(values: Mapping[str, str]) -> str:
    """Return the values of a point in a line, by the last parts of their keys."""
    return " ".join(f"{key.rpartition('.')[2]}={value}" for key, value in values.items())
