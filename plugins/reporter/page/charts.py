"""The figures of a report as inline SVG.

Positions are percentages of the width, so that a figure fits any screen without scaling its text.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

from plugins.reporter.page.markup import Html, el, join
from plugins.reporter.reading import decibels, duration, megabytes

if TYPE_CHECKING:
    from core.record import BudgetLine, RunRecord, StageRecord

__all__ = ["budget", "partitions", "sizes"]

#: Formats of what the core keeps of its own measuring; the other artifacts are the model.
MEASURED = frozenset({"tensors", "facts", "files"})
STEP_DB = 20
HIGHEST_DB = 140
OPS_SHOWN = 8


def budget(record: RunRecord) -> Html | None:
    """Return the SNR after every stage: bars, what each stage lost, and a dot per label."""
    if not record.budget:
        return None
    chain = [line for line in record.budget if line.windows]
    alone = [line for line in record.budget if not line.windows]
    top = max((min(line.snr_db, HIGHEST_DB) for line in record.budget), default=0.0)
    top = max(3 * STEP_DB, STEP_DB * -(-int(top + 1) // STEP_DB))
    plugins = {stage.name: stage.plugin for stage in record.stages}
    before = [None, *(line.snr_db for line in chain)]
    rows = [
        _budget_row(line, last, top, plugins.get(line.stage, ""))
        for line, last in zip(chain, before, strict=False)
    ]
    rows += [_budget_row(line, None, top, "") for line in alone]
    labels = next((line.labels for line in chain if line.labels), ())
    return join(
        el("p", _verdict(chain)),
        _legend([(f"s{number % 8}", label) for number, label in enumerate(labels)]),
        el("ol", *rows, class_="rows"),
        _axis(top),
    )


def _verdict(chain: Sequence[BudgetLine]) -> Html:
    """Name the stage that costs the most, as a sentence."""
    losses = [(a.snr_db - b.snr_db, b) for a, b in pairwise(chain)]
    loss, guilty = max(losses, key=lambda pair: pair[0], default=(0.0, None))
    end = f" At the end {decibels(chain[-1].snr_db)} are left." if chain else ""
    if guilty is None or loss < 1:
        return join(f"No stage costs as much as 1 dB against the one before it.{end}")
    return join("The costliest stage is ", el("strong", guilty.stage), f": {loss:.1f} dB less than "
                f"the stage before it.{end}")


def _budget_row(line: BudgetLine, last: float | None, top: float, plugin: str) -> Html:
    def at(db: float) -> str:
        return f"{100 * max(0.0, min(db, top)) / top:.2f}%"

    change = "" if last is None else f"{line.snr_db - last:+.1f} dB".replace("-", "\N{MINUS SIGN}")
    lost = None
    if last is not None and last > line.snr_db:
        width = 100 * (min(last, top) - max(0.0, min(line.snr_db, top))) / top
        lost = el("rect", x=at(line.snr_db), y="7", width=f"{width:.2f}%", height="14",
                  class_="lost")
    marks = [
        el("circle", cx=at(db), cy="14", r="4.5", class_=f"mark s{number % 8}")
        for number, db in enumerate(line.label_snr_db)
    ]
    said = f"{line.stage}: {decibels(line.snr_db)}"
    svg = el(
        "svg", *_grid(top), el("rect", x="0", y="7", width=at(line.snr_db), height="14", rx="2",
                               class_="bar"), lost, *marks,
        width="100%", height="28", role="img", aria_label=said,
    )
    per_label = " · ".join(
        f"{label} {decibels(db)}"
        for label, db in zip(line.labels, line.label_snr_db, strict=False)
    )
    windows = f", {line.windows} window{'s' if line.windows != 1 else ''}" if line.windows else ""
    agreement = "" if line.agreement_db is None else (
        f"; agrees with the CPU on the same graph to {decibels(line.agreement_db)}"
    )
    return el(
        "li",
        el("div", el("strong", line.stage), el("span", plugin, class_="by"),
           el("span", change, class_="change") if change else None,
           el("span", decibels(line.snr_db), class_="number"), class_="row-head"),
        svg,
        el("p", per_label, el("br") if per_label else None,
           f"Measured on {line.device}{windows}{agreement}." + (f" {line.note}" if line.note else ""),
           class_="note"),
    )


def _grid(top: float) -> list[Html]:
    return [
        el("line", x1=f"{100 * db / top:.2f}%", x2=f"{100 * db / top:.2f}%", y1="0", y2="28",
           class_="grid")
        for db in range(0, int(top) + 1, STEP_DB)
    ]


def _axis(top: float) -> Html:
    ticks = [
        el("text", f"{db}" if db < top else f"{db} dB", x=f"{100 * db / top:.2f}%", y="12",
           text_anchor="start" if db == 0 else "end" if db >= top else "middle")
        for db in range(0, int(top) + 1, STEP_DB)
    ]
    return el("svg", *ticks, width="100%", height="16", class_="axis", aria_hidden="true")


def _legend(entries: Sequence[tuple[str, str]]) -> Html | None:
    items = (el("li", el("span", class_=f"dot {name}"), label) for name, label in entries)
    return el("ul", *items, class_="legend") if entries else None


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
        rows.append(el(
            "tr",
            el("th", stage.name, el("small", f"{stage.artifact.format} {stage.artifact.precision}"),
               scope="row"),
            el("td", _meter(stage.artifact.bytes, largest, "size", megabytes(stage.artifact.bytes)),
               data_label="Size"),
            el("td", _meter(seconds, slowest, "speed", duration(seconds)) if seconds else "–",
               el("small", line.device) if line and seconds else None,
               data_label="Per window"),
        ))
    head = el("tr", *(el("th", t, scope="col") for t in ("After", "Size", "Time per window")))
    return el("table", el("thead", head), el("tbody", *rows), class_="meters") if rows else None


def _meter(amount: float, most: float, kind: str, said: str) -> Html:
    width = f"{100 * amount / most if most else 0:.2f}%"
    bar = el("rect", x="0", y="0", width=width, height="8", rx="2", class_=kind)
    return el("div", el("span", said, class_="number"),
              el("svg", bar, width="100%", height="8", aria_hidden="true"), class_="meter")


def partitions(record: RunRecord) -> Html | None:
    """Return how the compiler split the graph between the accelerator and the CPU."""
    stage = next((s for s in record.stages if "nodes_on_npu" in s.artifact.facts), None)
    if stage is None:
        return None
    facts = stage.artifact.facts
    npu, cpu = _whole(facts.get("nodes_on_npu")), _whole(facts.get("nodes_on_cpu"))
    parts = _whole(facts.get("partitions"))
    ops = sorted((_op(text) for text in _texts(facts.get("npu_op_counts"))), key=lambda op: -op[1])
    shown, rest = ops[:OPS_SHOWN], sum(count for _, count in ops[OPS_SHOWN:])
    bars = [(f"op{n}", name, count) for n, (name, count) in enumerate(shown)]
    bars += [("op8", f"{len(ops) - OPS_SHOWN} other kinds", rest)] if rest else []
    bars += [("cpu", "on the CPU", cpu)] if cpu else []
    total = sum(count for _, _, count in bars) or 1
    start, rects = 0.0, []
    for name, label, count in bars:
        width = 100 * count / total
        rects.append(el("rect", el("title", f"{label}: {count}"), x=f"{start:.3f}%", y="0",
                        width=f"{width:.3f}%", height="34", class_=name))
        start += width
    left = _texts(facts.get("cpu_nodes"))
    return join(
        el("p", f"{npu} of {npu + cpu} nodes are on the accelerator, in {parts} "
           f"partition{'s' if parts != 1 else ''}"
           + (f"; {cpu} stay on the CPU." if cpu else "; nothing is left on the CPU.")),
        el("svg", *rects, width="100%", height="34", role="img", class_="partition",
           aria_label=", ".join(f"{label} {count}" for _, label, count in bars)),
        _legend([(name, f"{label} {count}") for name, label, count in bars]),
        el("details", el("summary", f"The {len(left)} nodes on the CPU"),
           el("ul", *(el("li", el("code", node)) for node in left), class_="nodes"))
        if left else None,
        el("p", "The compiler's own assignment, read from the compiled model; not an execution.",
           class_="note"),
    )


def _op(text: str) -> tuple[str, int]:
    name, _, count = text.rpartition(" ")
    return (name, int(count)) if count.isdigit() else (text, 1)


def _whole(fact: object) -> int:
    return int(fact) if isinstance(fact, int | float) else 0


def _texts(fact: object) -> list[str]:
    return [str(entry) for entry in fact] if isinstance(fact, list) else []
