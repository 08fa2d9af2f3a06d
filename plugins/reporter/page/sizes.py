"""Size and speed after every stage, as bars in a table."""

from __future__ import annotations

from typing import TYPE_CHECKING

from plugins.reporter.page.markup import Html, el
from plugins.reporter.reading import duration, megabytes

if TYPE_CHECKING:
    from core.record import RunRecord, StageRecord

__all__ = ["models", "sizes"]

#: Formats of what the core keeps of its own measuring; the other artifacts are the model.
MEASURED = frozenset({"tensors", "facts", "files"})


def models(record: RunRecord) -> list[StageRecord]:
    """Return the stages whose artifact is the model in some form."""
    return [stage for stage in record.stages if stage.artifact.format not in MEASURED]


def sizes(record: RunRecord) -> Html | None:
    """Return size, and time per window where one was measured, after every stage."""
    stages = models(record)
    lines = {("runtime" if b.stage == "probe" else b.stage): b for b in record.budget}
    largest = max((stage.artifact.bytes for stage in stages), default=0)
    slowest = max(
        (b.seconds_per_window for b in record.budget if b.seconds_per_window), default=0.0
    )
    rows = []
    for stage in stages:
        line = lines.get(stage.name)
        seconds = line.seconds_per_window if line else None
        rows.append(
            el(
                "tr",
                el(
                    "th",
                    stage.name,
                    el("small", f"{stage.artifact.format} {stage.artifact.precision}"),
                    scope="row",
                ),
                el(
                    "td",
                    _meter(stage.artifact.bytes, largest, "size", megabytes(stage.artifact.bytes)),
                    data_label="Size",
                ),
                el(
                    "td",
                    _meter(seconds, slowest, "speed", duration(seconds)) if seconds else "-",
                    el("small", line.device) if line and seconds else None,
                    data_label="Per window",
                ),
            )
        )
    head = el("tr", *(el("th", t, scope="col") for t in ("After", "Size", "Time per window")))
    return el("table", el("thead", head), el("tbody", *rows), class_="meters") if rows else None


def _meter(amount: float, most: float, kind: str, said: str) -> Html:
    width = f"{100 * amount / most if most else 0:.2f}%"
    bar = el("rect", x="0", y="0", width=width, height="8", rx="2", class_=kind)
    return el(
        "div",
        el("span", said, class_="number"),
        el("svg", bar, width="100%", height="8", aria_hidden="true"),
        class_="meter",
    )
