"""Metrics as tables: one row per label (a stem), one column per measure, one table per item.

A measure of an item as a whole, be it over all its outputs or the mean of its labels, has the row
`overall`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from core import Metric
from core.measure.metrics import HIGH, LOW
from plugins.reporter._reading.words import value

__all__ = [
    "OVERALL",
    "Column",
    "Table",
    "average",
    "cold_start",
    "headline",
    "notes_of",
    "others",
    "spread",
    "tables",
    "title_of",
]

OVERALL = "overall"
#: The core's measures of speed and memory; everything else is about quality.
SPEED = frozenset({"latency", "cold_start", "real_time_factor", "time_per_input", "peak_memory"})
#: Measures beside the quality, which are no headline of it.
ASIDE = frozenset({"parity_snr", "seam_error"})
TITLES = {
    "sdr": "SDR",
    "sdr_reference": "SDR of FP32",
    "sdr_drop": "SDR drop",
    "sdr_mixture": "SDR of mixture",
    "sdr_improvement": "SDR over mixture",
    "si_sdr": "SI-SDR",
    "residual": "residual",
    "residual_reference": "residual of FP32",
    "level": "RMS level",
    "psnr": "PSNR",
    "psnr_gain": "PSNR gain",
    "psnr_to_fp32": "PSNR to FP32",
    "parity_snr": "SNR to FP32",
    "seam_error": "seam error",
    "latency": "latency per window",
    "cold_start": "cold start",
    "real_time_factor": "real-time factor",
    "time_per_input": "time per input",
    "peak_memory": "peak memory",
}


@dataclass(frozen=True)
class Column:
    """One measure: its name, its title, its unit and which direction is better."""

    name: str
    title: str
    unit: str
    better: str


@dataclass(frozen=True)
class Table:
    """The measures of one item; `rows` map a label to one metric, or none, per column."""

    item: str
    columns: tuple[Column, ...]
    rows: dict[str, tuple[Metric | None, ...]]


def tables(metrics: Sequence[Metric]) -> list[Table]:
    """Return one table per item, in the order of the metrics, `overall` as the last row."""
    items: dict[str, list[Metric]] = {}
    for metric in metrics:
        item, label = _split(metric)
        if label:
            items.setdefault(item, []).append(metric)
    return [_table(item, of_item) for item, of_item in items.items()]


def average(metrics: Sequence[Metric]) -> Table | None:
    """Return one table whose every value is the mean over the items; None without any."""
    groups: dict[tuple[str, str], list[Metric]] = {}
    for metric in metrics:
        label = _split(metric)[1]
        if label:
            groups.setdefault((metric.name, label), []).append(metric)
    items = len({item for item, label in map(_split, metrics) if item and label})
    title = f"Mean of {items} items" if items > 1 else ""
    merged = [
        replace(
            group[0],
            value=sum(m.value for m in group) / len(group),
            item=title,
        )
        for (_, label), group in groups.items()
    ]
    return _table(title, merged) if merged else None


def headline(metrics: Sequence[Metric]) -> Metric | None:
    """Return the first overall measure of the quality that has a better direction, over all items.

    None where there is no such measure: the distance to FP32 says nothing of how good a result
    is, and neither does an error in a place.
    """
    table = average(metrics)
    if table is None:
        return None
    # A single label stands for everything.
    row = table.rows.get(OVERALL) or (
        next(iter(table.rows.values())) if len(table.rows) == 1 else ()
    )
    fitting = (m for m in row if m and m.name not in ASIDE and m.better != "neither")
    return next(fitting, None)


def notes_of(table: Table) -> list[str]:
    """Return the notes of a table's measures: `SDR: MDX definition, whole song`."""
    said: dict[str, None] = {}
    for row in table.rows.values():
        for column, metric in zip(table.columns, row, strict=True):
            if metric is not None and metric.note:
                said[f"{column.title}: {metric.note}"] = None
    return list(said)


def others(metrics: Sequence[Metric]) -> list[Metric]:
    """Return the metrics of speed and memory, which belong to no item; no ends of spreads."""
    of_speed = (metric for metric in metrics if not _split(metric)[1])
    return [metric for metric in of_speed if metric.statistic not in (LOW, HIGH)]


def spread(metrics: Sequence[Metric], name: str) -> str:
    """Return the range of nine of ten measured times: `90 % between 110 ms and 149 ms`.

    "" where all look the same with the digits shown, or where there was one.
    """
    found = {m.statistic: m for m in metrics if m.name == name and m.statistic in (LOW, HIGH)}
    if len(found) < 2:  # noqa: PLR2004  # both ends
        return ""
    low, high = value(found[LOW]), value(found[HIGH])
    return f"90 % between {low} and {high}" if low != high else ""


def cold_start(metrics: Sequence[Metric]) -> str:
    """Return the cold start in ms: `cold start 412 ms: open 380, first window 32, second 18`.

    "" where it was not measured. All numbers have the same digits, so that they add up.
    """
    found = {m.statistic: m.value for m in metrics if m.name == "cold_start"}
    if not found:
        return ""
    digits = 0 if found[""] >= 100 else 1 if found[""] >= 1 else 3  # noqa: PLR2004  # ms
    parts = ((part, "second" if part == "second window" else part) for part in found if part)
    said = ", ".join(f"{words} {found[part]:.{digits}f}" for part, words in parts)
    return f"cold start {found['']:.{digits}f} ms: {said}"


def title_of(name: str) -> str:
    """Return a measure's name as a person writes it."""
    return TITLES.get(name, name.replace("_", " "))


def _split(metric: Metric) -> tuple[str, str]:
    """Return the item and the row of a metric; no row for speed."""
    return metric.item, "" if metric.name in SPEED else metric.label or OVERALL


def _table(item: str, metrics: Sequence[Metric]) -> Table:
    columns = {m.name: Column(m.name, title_of(m.name), m.unit, m.better) for m in metrics}
    labels = list(dict.fromkeys(_split(metric)[1] for metric in metrics))
    labels.sort(key=lambda label: label == OVERALL)
    found = {(_split(metric)[1], metric.name): metric for metric in metrics}
    order = sorted(columns, key=lambda name: (*_rank(name),))
    return Table(
        item,
        tuple(columns[name] for name in order),
        {label: tuple(found.get((label, name)) for name in order) for label in labels},
    )


def _rank(name: str) -> tuple[int, str]:
    """Return the known measures first, in the order of `TITLES`."""
    known = list(TITLES)
    return (known.index(name), "") if name in known else (len(known), name)
