"""Size and speed after every stage, as bars in a table."""

from __future__ import annotations

from typing import TYPE_CHECKING

from core.plugin.step_names import PROBE
from plugins.reporter._html_run.markup import Html, el
from plugins.reporter._reading import duration, megabytes

if TYPE_CHECKING:
    from core.plugin.records import BudgetLine, RunRecord, StageRecord

__all__ = ["models", "sizes"]

#: Formats of the core's own measurements; the other artifacts are the model.
MEASURED = frozenset({"tensors", "facts", "files"})


def models(record: RunRecord) -> list[StageRecord]:
    """Return the stages whose artifact is the model in some form."""
    return [stage for stage in record.stages if stage.artifact.format not in MEASURED]


def sizes(record: RunRecord) -> Html | None:
    """Return size, and time per window where one was measured, after every stage."""
    stages = models(record)
    lines = {("runtime" if b.stage == PROBE else b.stage): b for b in record.budget}
    largest = max((stage.artifact.bytes for stage in stages), default=0)
    slowest = max(
        (b.seconds_per_window or 0.0 for b in record.budget if not _stands_in(record, b)),
        default=0.0,
    )
    rows = []
    for stage in stages:
        line = lines.get(stage.name)
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
                    *(_speed(record, line, slowest) if line and line.seconds_per_window else "-"),
                    data_label="Per window",
                ),
            )
        )
    head = el("tr", *(el("th", t, scope="col") for t in ("After", "Size", "Time per window")))
    return el("table", el("thead", head), el("tbody", *rows), class_="meters") if rows else None


def _speed(record: RunRecord, line: BudgetLine, slowest: float) -> tuple[Html, Html]:
    """Return the time per window and where; an emulator's time gets no bar beside real ones."""
    seconds = line.seconds_per_window or 0.0
    if _stands_in(record, line):
        said = f"{line.device}; says nothing about the target's own speed"
        return el("span", duration(seconds), class_="number"), el("small", said)
    return _meter(seconds, slowest, "speed", duration(seconds)), el("small", line.device)


def _stands_in(record: RunRecord, line: BudgetLine) -> bool:
    return line.stage == PROBE and not record.target_took_part


def _meter(amount: float, most: float, kind: str, said: str) -> Html:
    width = f"{100 * amount / most if most else 0:.2f}%"
    bar = el("rect", x="0", y="0", width=width, height="8", rx="2", class_=kind)
    return el(
        "div",
        el("span", said, class_="number"),
        el("svg", bar, width="100%", height="8", aria_hidden="true"),
        class_="meter",
    )
