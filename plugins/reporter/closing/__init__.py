"""The summary at the end of a run, for a terminal of any width, or none."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.markup import escape
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from plugins.reporter.reading import (
    average,
    decibels,
    duration,
    factor,
    others,
    title_of,
    took_part,
    value,
)

if TYPE_CHECKING:
    from rich.console import Console

    from core.record import RunRecord

__all__ = ["show"]

COLOURS = {"danger": "red", "warning": "yellow", "info": "blue"}
#: The measures of the quality table, in order; the HTML report has them all.
SHOWN = ("sdr", "sdr_drop", "si_sdr", "parity_snr", "seam_error")
LABEL_WIDTH, COLUMN_WIDTH = 10, 12


def show(record: RunRecord, console: Console) -> None:
    """Print the error budget, the quality, the speed, the notices, and what ran where."""
    console.print()
    if record.budget:
        console.print(_budget(record))
        console.print()
    quality = _quality(record, console.width)
    if quality is not None:
        console.print(quality)
        console.print()
    for line in _speed(record):
        console.print(line, style="default")
    for notice in sorted(record.notices, key=lambda n: list(COLOURS).index(n.severity)):
        colour = COLOURS[notice.severity]
        if notice.severity == "info":
            console.print(Text(f"note: {notice.text}", style="dim"))
        elif console.is_terminal:
            console.print(Panel(Text(notice.text), title=notice.severity, title_align="left",
                                border_style=colour, style=colour))  # fmt: skip
        else:
            console.print(f"{notice.severity}: {notice.text}", markup=False, soft_wrap=True)
    console.print()
    console.print(Text(took_part(record), style="bold"), soft_wrap=not console.is_terminal)


def _budget(record: RunRecord) -> Table:
    table = _table("Error budget: SNR against FP32 PyTorch")
    for heading, side in (("stage", "left"), ("SNR", "right"), ("measured on", "left")):
        table.add_column(heading, justify="right" if side == "right" else "left", overflow="fold")
    for line in record.budget:
        agrees = (
            ""
            if line.agreement_db is None
            else (f" (agrees with the CPU to {decibels(line.agreement_db)})")
        )
        table.add_row(escape(line.stage), decibels(line.snr_db), escape(line.device + agrees))
    return table


def _quality(record: RunRecord, width: int) -> Table | None:
    """Return measures as columns; a narrow terminal gets as many of them as it holds."""
    mean = average(record.metrics)
    if mean is None:
        return None
    names = [column.name for column in mean.columns]
    fitting = max(1, (width - LABEL_WIDTH) // COLUMN_WIDTH)
    chosen = ([name for name in SHOWN if name in names] or names[: len(SHOWN)])[:fitting]
    table = _table("Quality" + (f", {mean.item.lower()}" if mean.item else ""))
    table.add_column("", no_wrap=True)
    for name in chosen:
        column = mean.columns[names.index(name)]
        unit = f"\n{column.unit}" if column.unit else ""
        table.add_column(f"{title_of(name)}{unit}", justify="right")
    for label, metrics in mean.rows.items():
        cells = [metrics[names.index(name)] for name in chosen]
        style = "bold" if label == "overall" else ""
        table.add_row(escape(label), *(value(m, unit=False) if m else "-" for m in cells),
                      style=style)  # fmt: skip
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
    return [escape(line) for line in lines]


def _table(title: str) -> Table:
    return Table(title=title, title_justify="left", title_style="bold", box=None,
                 padding=(0, 2, 0, 0), header_style="dim")  # fmt: skip
