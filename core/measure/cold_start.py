"""The cold start: how long a user waits for the first result of a model, and then for the next."""

from __future__ import annotations

from collections.abc import Sequence

from core.plugin.stages import Session
from core.plugin.values import Artifact, Fact, Metric

__all__ = ["facts_of", "metrics_of"]

#: The fact of each part of a cold start, in seconds, and the statistic of its metric.
PARTS = {
    "cold_open_s": "open",
    "cold_first_window_s": "first window",
    "cold_second_window_s": "second window",
}
#: What the sum is of.
TOTAL = "open and first window"
#: A cold start is complete once the first of its windows was run.
LEAST = 2


def facts_of(session: Session, open_s: float, windows_s: Sequence[float]) -> dict[str, Fact]:
    """Return the cold start of a session as facts, in seconds; {} where it was not measured.

    `open_s` is how long this machine took to open it, and `windows_s` are the times of its windows
    in order. The clock of this machine says nothing about another one: of a session elsewhere only
    its own `cold_start_s` counts.
    """
    measured = [open_s, *windows_s] if session.here else []
    return dict(zip(PARTS, session.cold_start_s or measured, strict=False))


def metrics_of(artifact: Artifact, device: str) -> list[Metric]:
    """Return the cold start that a step measured, in ms; [] where it measured none.

    The first metric is the sum of opening and first window, which is what a user waits for. The
    others are its parts, with the second window, if there was one, for comparison: what it is
    faster by, the first one spent on compiling kernels, planning memory or reading weights.
    """
    found = {said: artifact.number(name) for name, said in PARTS.items() if name in artifact.facts}
    if len(found) < LEAST:
        return []
    total = sum(list(found.values())[:LEAST])
    return [
        Metric("cold_start", 1000 * total, "ms", device, better="lower", note=TOTAL),
        *(
            Metric("cold_start", 1000 * seconds, "ms", device, statistic=said, better="lower")
            for said, seconds in found.items()
        ),
    ]
