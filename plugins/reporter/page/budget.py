"""The error budget as a figure: what every stage left of the signal, and what it cost.

Positions are percentages of the width, so that a figure fits any screen without scaling its text.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from plugins.reporter.page.markup import Html, el, join, legend, prose
from plugins.reporter.reading import costliest, decibels, signed, stage_in_words

if TYPE_CHECKING:
    from core.record import BudgetLine, RunRecord

__all__ = ["ARROW", "budget"]

STEP_DB = 20
HIGHEST_DB = 140
#: The numbers around it stay on its line.
ARROW = "\N{NO-BREAK SPACE}→\N{NO-BREAK SPACE}"


def budget(record: RunRecord) -> Html | None:
    """Return the SNR after every stage: bars, what each stage lost, and a dot per label."""
    if not record.budget:
        return None
    chain = [line for line in record.budget if line.windows]
    alone = [line for line in record.budget if not line.windows]
    every = [db for line in record.budget for db in (line.snr_db, *line.label_snr_db)]
    top = max(3 * STEP_DB, STEP_DB * -(-int(min(max(every), HIGHEST_DB)) // STEP_DB))
    plugins = {stage.name: stage.plugin for stage in record.stages}
    before = [None, *chain]
    rows = [
        _budget_row(record, line, last, top, plugins.get(line.stage, ""))
        for line, last in zip(chain, before, strict=False)
    ]
    rows += [_budget_row(record, line, None, top, "") for line in alone]
    labels = next((line.labels for line in chain if line.labels), ())
    return join(
        el(
            "p",
            costliest(record).replace(" → ", ARROW)
            or "No stage lost anything beyond the rounding of FP32.",
        ),
        legend([(f"s{number % 8}", label) for number, label in enumerate(labels)]),
        el("ol", *rows, class_="rows"),
        _axis(top),
    )


def _budget_row(
    record: RunRecord, line: BudgetLine, last: BudgetLine | None, top: float, plugin: str
) -> Html:
    def at(db: float) -> str:
        return f"{100 * max(0.0, min(db, top)) / top:.2f}%"

    words = stage_in_words(record, line)
    change, lost = "", None
    # A gain on fewer windows is that of easier windows, not of the stage.
    if last is not None and (last.windows == line.windows or last.snr_db > line.snr_db):
        change = signed(f"{line.snr_db - last.snr_db:+.1f} dB").replace("+0.0", "0.0")
        if last.snr_db > line.snr_db:
            width = 100 * (min(last.snr_db, top) - max(0.0, min(line.snr_db, top))) / top
            lost = el(
                "rect", x=at(line.snr_db), y="7", width=f"{max(0.0, width):.2f}%", height="14",
                class_="lost",
            )  # fmt: skip
    marks = [
        el("circle", cx=at(db), cy="14", r="4.5", class_=f"mark s{number % 8}")
        for number, db in enumerate(line.label_snr_db)
    ]
    said = f"{words} ({line.stage}): {decibels(line.snr_db)}"
    svg = el(
        "svg",
        *_grid(top),
        el("rect", x="0", y="7", width=at(line.snr_db), height="14", rx="2", class_="bar"),
        lost,
        *marks,
        width="100%",
        height="28",
        role="img",
        aria_label=said,
    )
    # A number never parts from its label or its unit.
    per_label = " · ".join(
        f"{label} {decibels(db)}".replace(" ", "\N{NO-BREAK SPACE}")
        for label, db in zip(line.labels, line.label_snr_db, strict=False)
    )
    fewer = f" of the {last.windows}" if last and last.windows > line.windows else ""
    windows = (
        f", {line.windows}{fewer} window{'s' if line.windows != 1 or fewer else ''}"
        if line.windows
        else ""
    )
    agreement = (
        ""
        if line.agreement_db is None
        else (f"; agrees with the CPU on the same graph to {decibels(line.agreement_db)}")
    )
    return el(
        "li",
        el(
            "div",
            el("strong", words[0].upper() + words[1:]),
            el("span", prose(f"`{line.stage}`" + (f", {plugin}" if plugin else "")), class_="by"),
            el("span", change, class_="change") if change else None,
            el("span", decibels(line.snr_db), class_="number"),
            class_="row-head",
        ),
        svg,
        el(
            "p",
            per_label,
            el("br") if per_label else None,
            "" if line.windows else "Measured by itself, not after the stages above. ",
            f"Measured on {line.device}{windows}{agreement}"
            + (f": {line.note}." if line.note else "."),
            class_="note",
        ),
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
