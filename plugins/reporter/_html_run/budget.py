"""The error budget as a figure: how near every stage's result is to the one of the row before.

Positions are percentages of the width, so that a figure fits any screen without scaling its text.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from core.measure.error_budget import worst
from plugins.reporter._html_run.markup import Html, el, join, legend, prose
from plugins.reporter._reading import (
    SAME_DB,
    base_in_words,
    costliest,
    decibels,
    furthest,
    row_in_words,
    stage_in_words,
)

if TYPE_CHECKING:
    from core.plugin.records import BudgetLine, RunRecord

__all__ = ["ARROW", "budget"]

STEP_DB = 20
HIGHEST_DB = 140
#: No-break spaces keep the numbers around it on its line.
ARROW = "\N{NO-BREAK SPACE}→\N{NO-BREAK SPACE}"


def budget(record: RunRecord) -> Html | None:
    """Return a bar and a dot per label for every row: by itself, and with all rows before it."""
    if not record.budget:
        return None
    shown = [line for line in record.budget if line.step_db is not None]
    every = [db for line in shown for db in (line.step_db or 0.0, *line.label_step_db)]
    highest = min(max(every, default=0.0), HIGHEST_DB)
    top = max(3 * STEP_DB, STEP_DB * -(-int(highest) // STEP_DB))
    plugins = {stage.name: stage.plugin for stage in record.stages}
    largest = worst(record.budget, cutting=True)
    labels = list(dict.fromkeys(label for line in record.budget for label in line.labels))
    rows = [
        _row(
            record,
            line,
            labels,
            top,
            plugins.get(line.stage, "") if line in shown else "",
            largest=largest is not None and line is largest.line,
        )
        for line in record.budget
    ]
    return join(
        el("p", costliest(record).replace(" → ", ARROW)),
        el("p", f"Together: against {base_in_words(record)}.", class_="note"),
        legend([(f"s{number % 8}", label) for number, label in enumerate(labels)]),
        el("ol", *rows, class_="rows"),
        _axis(top) if shown else None,
    )


def _row(
    record: RunRecord,
    line: BudgetLine,
    labels: list[str],
    top: float,
    plugin: str,
    *,
    largest: bool,
) -> Html:
    alone, total = furthest(line)
    words = stage_in_words(record, line)
    number = "" if line.step_db is None else decibels(line.step_db)
    together = (
        f"Together: {row_in_words(line.total_db, total)}. "
        if total is not None and line.total_db is not None
        else ""
    )
    same = {number, *map(decibels, line.label_step_db)} == {decibels(SAME_DB)}
    # No-break spaces keep a number with its label and its unit.
    per_label = " · ".join(
        f"{label} {decibels(db)}".replace(" ", "\N{NO-BREAK SPACE}")
        for label, db in zip(line.labels, line.label_step_db, strict=False)
        if not same
    )
    windows = f", {line.windows} window{'s' if line.windows != 1 else ''}" if line.windows else ""
    return el(
        "li",
        el(
            "div",
            el("strong", words[0].upper() + words[1:]),
            el("span", prose(f"`{line.stage}`" + (f", {plugin}" if plugin else "")), class_="by"),
            el("span", number, class_="number") if number else None,
            class_="row-head",
        ),
        _bar(line, labels, top, f"{words} ({line.stage}): {number}", largest=largest)
        if alone is not None
        else None,
        el(
            "p",
            per_label,
            el("br") if per_label else None,
            together,
            f"Measured on {line.device}{windows}. ",
            f"{line.note[0].upper()}{line.note[1:]}." if line.note else "",
            class_="note",
        ),
    )


def _bar(line: BudgetLine, labels: list[str], top: float, said: str, *, largest: bool) -> Html:
    def at(db: float) -> str:
        return f"{100 * max(0.0, min(db, top)) / top:.2f}%"

    width = at(line.step_db or 0.0)
    marks = [
        el("circle", cx=at(db), cy="14", r="4.5", class_=f"mark s{labels.index(label) % 8}")
        for label, db in zip(line.labels, line.label_step_db, strict=False)
    ]
    colour = "bar largest" if largest else "bar"
    return el(
        "svg",
        *_grid(top),
        el("rect", x="0", y="7", width=width, height="14", rx="2", class_=colour),
        *marks,
        width="100%",
        height="28",
        role="img",
        aria_label=said,
    )


def _grid(top: float) -> list[Html]:
    return [
        el(
            "line",
            x1=f"{100 * db / top:.2f}%",
            x2=f"{100 * db / top:.2f}%",
            y1="0",
            y2="28",
            class_="grid",
        )
        for db in range(0, int(top) + 1, STEP_DB)
    ]


def _axis(top: float) -> Html:
    ticks = [
        el(
            "text",
            f"{db}" if db else "0 dB",
            x=f"{100 * db / top:.2f}%",
            y="12",
            text_anchor="start" if db == 0 else "end" if db >= top else "middle",
        )
        for db in range(0, int(top) + 1, STEP_DB)
    ]
    return el("svg", *ticks, width="100%", height="16", class_="axis", aria_hidden="true")
