"""The summary at the end of a run, for a terminal of any width, or none."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from plugins.reporter.closing.promise import promises
from plugins.reporter.reading import (
    OVERALL,
    average,
    costliest,
    decibels,
    duration,
    factor,
    others,
    stage_in_words,
    took_part,
    unit_shares,
    value,
)

if TYPE_CHECKING:
    from rich.console import Console

    from core.record import RunRecord

__all__ = ["show"]

COLOURS = {"danger": "red", "warning": "yellow", "info": "blue"}
#: Columns that the measures of the quality table take, and the least that one label takes.
MEASURE_WIDTH, LABEL_WIDTH = 21, 7
GAP = 2
#: Below this many columns a stage's name and its words share a cell.
WIDE = 76


def show(record: RunRecord, console: Console) -> None:
    """Print the error budget, the quality, the speed, the notices, and what ran where."""
    console.print()
    if record.budget:
        console.print(_budget(record, console.width))
    verdict = costliest(record)
    if verdict:
        console.print(Text(verdict), soft_wrap=not console.is_terminal)
    if record.budget or verdict:
        console.print()
    quality = _quality(record, console.width)
    if quality is not None:
        console.print(quality)
        console.print()
    for promised in promises(record, console.width):
        console.print(promised, soft_wrap=isinstance(promised, Text))
    for line in _speed(record):
        console.print(Text(line, style="default"))
    for notice in sorted(record.notices, key=lambda n: list(COLOURS).index(n.severity)):
        colour = COLOURS[notice.severity]
        if notice.severity == "info":
            console.print(Text(f"note: {notice.text}", style="dim"))
        elif console.is_terminal:
            console.print(Panel(Text(notice.text), title=notice.severity, title_align="left",
                                border_style=colour, style=colour))  # fmt: skip
        else:
            console.print(Text(f"{notice.severity}: {notice.text}"), soft_wrap=True)
    console.print()
    console.print(Text(took_part(record), style="bold"), soft_wrap=not console.is_terminal)


def _budget(record: RunRecord, width: int) -> Table:
    """Return a row per stage: its name, what it is in words, the SNR, and where it was measured."""
    wide = width >= WIDE
    table = _table("Error budget: SNR against FP32 PyTorch, higher is nearer")
    table.add_column("stage", overflow="fold", no_wrap=wide)
    if wide:
        table.add_column("what was compared", overflow="fold")
    table.add_column("SNR", justify="right", no_wrap=True)
    table.add_column("measured on", overflow="fold")
    for line in record.budget:
        agrees = (
            ""
            if line.agreement_db is None
            else (f" (agrees with the CPU to {decibels(line.agreement_db)})")
        )
        words = stage_in_words(record, line)
        about = [line.stage, words] if wide else [f"{words} ({line.stage})"]
        table.add_row(*map(Text, about), decibels(line.snr_db), Text(line.device + agrees))
    return table


def _quality(record: RunRecord, width: int) -> Table | None:
    """Return one row per measure; a narrow terminal gets as many labels as it holds."""
    mean = average(record.metrics)
    if mean is None:
        return None
    room = width - min(MEASURE_WIDTH, width // 2)
    labels: list[str] = []
    # What holds for everything comes first into the room, and last into the table.
    for label in sorted(mean.rows, key=lambda label: label != OVERALL):
        room -= max(LABEL_WIDTH, len(label)) + GAP
        if room < 0 and labels:
            break
        labels.append(label)
    table = _table("Quality" + (f", {mean.item[0].lower()}{mean.item[1:]}" if mean.item else ""))
    left = len(mean.rows) - len(labels)
    if left:
        table.caption = f"{left} more column{'s' if left > 1 else ''} in the report"
    table.add_column("", overflow="fold")
    for label in (shown := [label for label in mean.rows if label in labels]):
        table.add_column(Text(label), justify="right", overflow="fold",
                         style="bold" if label == OVERALL else "")  # fmt: skip
    for number, column in enumerate(mean.columns):
        row = [mean.rows[label][number] for label in shown]
        name = f"{column.title}, {column.unit}" if column.unit else column.title
        table.add_row(Text(name), *(value(m, unit=False) if m else "-" for m in row))
    return table


def _speed(record: RunRecord) -> list[str]:
    """Return latency, real-time factor, memory and size as lines that name their device."""
    found = {(metric.name, metric.subject): metric for metric in others(record.metrics)}
    lines = []
    median, p95 = found.get(("latency", "median")), found.get(("latency", "p95"))
    speed = found.get(("real_time_factor", ""))
    if median:
        tail = f" (95 % within {duration(p95.value / 1000)})" if p95 else ""
        fast = f", {factor(speed.value)}" if speed else ""
        lines.append(f"{duration(median.value / 1000)} per window{tail}{fast}, on {median.device}")
    peak = next((m for m in found.values() if m.name == "peak_memory"), None)
    if peak:
        lines.append(f"{value(peak)} peak memory, {peak.subject}, on {peak.device}")
    shares = unit_shares(record)
    if shares:
        lines.append(shares)
    return lines


def _table(title: str) -> Table:
    return Table(title=title, title_justify="left", title_style="bold", box=None,
                 padding=(0, GAP, 0, 0), header_style="dim", caption_justify="left")  # fmt: skip
