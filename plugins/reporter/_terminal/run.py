"""The summary at the end of a run, for a terminal of any width, or none."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from plugins.reporter._reading import (
    OVERALL,
    average,
    base_in_words,
    cold_start,
    costliest,
    duration,
    factor,
    furthest,
    headline,
    listed,
    others,
    placements_in_words,
    row_in_words,
    spread,
    stage_in_words,
    title_of,
    took_part,
    unit_shares,
    value,
)
from plugins.reporter._terminal.contract import promises

if TYPE_CHECKING:
    from rich.console import Console

    from core.plugin.records import RunRecord

__all__ = ["show"]

COLOURS = {"danger": "red", "warning": "yellow"}
#: Columns that the measures of the quality table take, and the least that one label takes.
MEASURE_WIDTH, LABEL_WIDTH = 21, 7
GAP = 2


def show(record: RunRecord, console: Console) -> None:
    """Print the notices, the error budget, the quality, the speed, and what ran where."""
    wrap = not console.is_terminal
    console.print()
    _warn(record, console)
    if record.budget:
        console.print(_budget(record))
        console.print(Text(f"measured on {_measured_on(record)}", style="dim"), soft_wrap=wrap)
    verdict = costliest(record)
    if verdict:
        console.print(Text(verdict), soft_wrap=wrap)
    if record.budget or verdict:
        console.print()
    quality = _quality(record, console.width)
    if quality is not None:
        console.print(quality)
        best = headline(record.metrics)
        if best is not None and best.note:
            said = f"{title_of(best.name)}: {best.note}"
            console.print(Text(said, style="dim"), soft_wrap=wrap)
        console.print()
    for promised in promises(record, console.width):
        console.print(promised, soft_wrap=wrap and isinstance(promised, Text))
    for line in (*_speed(record), *placements_in_words(record)):
        console.print(Text(line, style="default"))
    for notice in record.notices:
        if notice.severity == "info":
            console.print(Text(f"note: {notice.text}", style="dim"), soft_wrap=wrap)
    console.print()
    console.print(Text(took_part(record), style="bold"), soft_wrap=wrap)


def _warn(record: RunRecord, console: Console) -> None:
    """Print what a person must know before any figure, the gravest first and none shortened."""
    grave = [notice for notice in record.notices if notice.severity != "info"]
    for notice in sorted(grave, key=lambda n: list(COLOURS).index(n.severity)):
        colour = COLOURS[notice.severity]
        if console.is_terminal:
            console.print(Panel(Text(notice.text, overflow="fold"), title=notice.severity,
                                title_align="left", border_style=colour, style=colour))  # fmt: skip
        else:
            console.print(Text(f"{notice.severity}: {notice.text}"), soft_wrap=True)
    if grave:
        console.print()


def _budget(record: RunRecord) -> Table:
    """Return a row per stage: its name, its own change, and that of all stages up to it."""
    windows = max((line.windows for line in record.budget), default=0)
    table = _table(f"Error budget on {windows} window{'s' if windows != 1 else ''}, SNR")
    table.caption = (
        f"by itself: against the row above; together: against {base_in_words(record)}; the worst "
        "label stands beside each"
    )
    table.add_column("stage", overflow="fold", ratio=4)
    table.add_column("by itself", overflow="fold", ratio=3)
    table.add_column("together", overflow="fold", ratio=3)
    for line in record.budget:
        alone, total = furthest(line)
        note = f" ({line.note})" if line.note else ""
        about = f"{line.stage}: {stage_in_words(record, line)}{note}"
        table.add_row(
            Text(about),
            "-" if alone is None else Text(row_in_words(line.step_db or 0.0, alone)),
            "-" if total is None else Text(row_in_words(line.total_db or 0.0, total)),
        )
    return table


def _measured_on(record: RunRecord) -> str:
    """Return which rows of the budget come from which device."""
    devices: dict[str, list[str]] = {}
    for line in record.budget:
        devices.setdefault(line.device, []).append(line.stage)
    return "; ".join(f"{listed(stages)}: {device}" for device, stages in devices.items())


def _quality(record: RunRecord, width: int) -> Table | None:
    """Return one row per measure; a narrow terminal gets as many labels as it holds."""
    mean = average(record.metrics)
    if mean is None:
        return None
    room = width - min(MEASURE_WIDTH, width // 2)
    labels: list[str] = []
    # `overall` gets its room first, and its place in the table last.
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
    """Return latency, cold start and memory as lines that name their device."""
    found = {(metric.name, metric.statistic): metric for metric in others(record.metrics)}
    lines = []
    median, speed = found.get(("latency", "median")), found.get(("real_time_factor", ""))
    if median:
        tail = f" ({within})" if (within := spread(record.metrics, "latency")) else ""
        fast = f", {factor(speed.value)}" if speed else ""
        lines.append(f"{duration(median.value / 1000)} per window{tail}{fast}, on {median.device}")
    start = found.get(("cold_start", ""))
    if start:
        lines.append(f"{cold_start(record.metrics)}, on {start.device}")
    peak = next((m for m in found.values() if m.name == "peak_memory"), None)
    if peak:
        lines.append(f"{value(peak)} peak memory, {peak.note}, on {peak.device}")
    shares = unit_shares(record)
    if shares:
        lines.append(shares)
    return lines


def _table(title: str) -> Table:
    return Table(title=title, title_justify="left", title_style="bold", box=None,
                 padding=(0, GAP, 0, 0), header_style="dim", caption_justify="left")  # fmt: skip
