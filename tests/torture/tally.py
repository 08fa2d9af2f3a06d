"""The counts of a part of the suite: how often each fault occurred, and the first examples."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

from tests.torture.forks import Ended

__all__ = ["WRONG", "Tally"]

#: The kinds of fault, by column: a result that is gone or differs from the undisturbed one, work or
#: a result that is there twice, a change outside the named folders, a case that does not end, an
#: error that is no message, and damage that reached a result or a report.
WRONG = ("lost", "doubled", "outside", "hanging", "tracebacks", "unnoticed")
#: The number of faults that are kept as examples.
SHOWN = 20


@dataclass
class Tally:
    """The counts of one part, by column, and its other figures."""

    part: str
    cases: int = 0
    wrong: dict[str, int] = field(default_factory=lambda: dict.fromkeys(WRONG, 0))
    examples: list[str] = field(default_factory=list)
    about: dict[str, Any] = field(default_factory=dict)
    started: float = field(default_factory=time.perf_counter)

    def case(self, name: str, faults: Any) -> None:
        """Count one case with its faults."""
        self.cases += 1
        self.more(name, faults)

    def more(self, name: str, faults: Any) -> None:
        """Count faults: pairs of a column and a text. A column counts once.

        A case that had to be stopped, or that ended without an answer, counts as hanging.
        """
        if isinstance(faults, Ended):
            faults = [("hanging", f"the case itself: {faults}")]
        for column in dict.fromkeys(column for column, _ in faults):
            self.wrong[column] += 1
        for column, seen in faults:
            if len(self.examples) < SHOWN:
                self.examples.append(f"{column}: {name}: {seen}")

    def count(self, **more: int) -> None:
        """Add to numbers that are no faults, such as the number of refusals."""
        for name, number in more.items():
            self.about[name] = self.about.get(name, 0) + number

    def row(self) -> dict[str, Any]:
        """Return the part as a row of the results."""
        seconds = round(time.perf_counter() - self.started, 1)
        row = {"part": self.part, "cases": self.cases, **self.wrong, "about": self.about}
        return {**row, "seconds": seconds, "examples": self.examples}
