"""The lower half of a report: every metric, every stage, the recipe, the machine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from core import Metric
from plugins.reporter._html_run.markup import Html, el, join, prose
from plugins.reporter._reading import (
    OVERALL,
    Column,
    Table,
    average,
    duration,
    heard,
    megabytes,
    notes_of,
    others,
    spread,
    tables,
    title_of,
    value,
)

if TYPE_CHECKING:
    from core.plugin.records import RunRecord, StageRecord

__all__ = ["origin", "quality", "recipe", "stages"]

#: An evaluator's note on a number that no device computed.
NO_DEVICE = "no device"
ARROWS = {"higher": "↑", "lower": "↓", "neither": ""}
SAID = {"higher": "higher is better", "lower": "lower is better", "neither": ""}


def quality(record: RunRecord) -> Html | None:
    """Return all metrics: the mean over the items, each item, and those of no item."""
    of_items = tables(record.metrics)
    mean = average(record.metrics) if len(of_items) > 1 else None
    rest = others(record.metrics)
    if not record.metrics:
        return None
    return join(
        el("p", _legend(record)),
        _table(mean) if mean else None,
        *(_table(table) if mean is None else _folded(table) for table in of_items),
        _others(record.metrics) if rest else None,
    )


def _legend(record: RunRecord) -> str:
    """Return the meaning of the arrows, and what the shown measures compare with."""
    names = {metric.name for metric in record.metrics}
    said = "↑ higher is better, ↓ lower is better."
    if "parity_snr" in names:
        said += (
            f" SNR to FP32 compares the shipped graph with FP32 PyTorch in {record.against}"
            + ("; SDR compares with the true stems" if "sdr" in names and heard(record) else "")
            + "."
        )
    return said


def _table(table: Table) -> Html:
    head = el("tr", el("td"), *(_heading(column) for column in table.columns))
    rows = []
    for label, metrics in table.rows.items():
        cells = []
        for column, metric in zip(table.columns, metrics, strict=True):
            shown = value(metric, unit=False) if metric else "-"
            about = f"{metric.note}; on {metric.device}".strip("; ") if metric else None
            unit = f" ({column.unit})" if column.unit else ""
            cells.append(el("td", shown, title=about, data_label=column.title + unit))
        kind = OVERALL if label == OVERALL else ""
        rows.append(el("tr", el("th", label, scope="row"), *cells, class_=kind))
    devices = dict.fromkeys(m.device for row in table.rows.values() for m in row if m)
    devices.pop(NO_DEVICE, None)
    caption = el("caption", table.item, el("small", f"measured on {', '.join(devices)}"))
    return join(
        el("table", caption, el("thead", head), el("tbody", *rows), class_="cards numbers"),
        el("ul", *(el("li", note) for note in notes_of(table)), class_="note columns"),
    )


def _folded(table: Table) -> Html:
    return el("details", el("summary", table.item), _table(replace(table, item="")))


def _heading(column: Column) -> Html:
    said = SAID[column.better]
    arrow = el("abbr", ARROWS[column.better], title=said) if said else None
    return el(
        "th",
        column.title,
        " " if arrow else None,
        arrow,
        el("small", column.unit) if column.unit else None,
        scope="col",
    )


def _within(metrics: Sequence[Metric], one: Metric) -> str:
    """Return the range of a time, beside its median or its mean."""
    return spread(metrics, one.name) if one.statistic in ("median", "") else ""


def _others(metrics: Sequence[Metric]) -> Html:
    """Return the measures of no item; a device that measured all of them is named once."""
    found = others(metrics)
    devices = list(dict.fromkeys(metric.device for metric in found))
    alone = len(devices) == 1
    titles = ("Measure", "Value", "Of", *(() if alone else ("Measured on",)))
    head = el("tr", *(el("th", title, scope="col") for title in titles))
    rows = [
        el(
            "tr",
            el("th", title_of(m.name), " ", ARROWS[m.better], scope="row"),
            el(
                "td",
                value(m),
                el("small", within) if (within := _within(metrics, m)) else None,
                data_label="Value",
            ),
            el(
                "td",
                m.statistic or m.note or "everything",
                el("small", m.note) if m.note and m.statistic else None,
                data_label="Of",
            ),
            None if alone else el("td", m.device, data_label="Measured on"),
        )
        for m in found
    ]
    return el(
        "table",
        el(
            "caption",
            "Speed and memory",
            el("small", f"measured on {devices[0]}") if alone else None,
        ),
        el("thead", head),
        el("tbody", *rows),
        class_="cards plain-pairs" if alone else "cards",
    )


def stages(record: RunRecord) -> Html:
    """Return every step: taken from the store or run, its time, and its options."""
    heads = ("Stage", "By", "This run", "When made", "Peak memory", "Size")
    head = el("tr", *(el("th", t, scope="col") for t in heads))
    kept = sum(stage.status == "cached" for stage in record.stages)
    table = el(
        "table",
        el("thead", head),
        el("tbody", *(_stage(s) for s in record.stages)),
        class_="cards stages",
    )
    return join(
        el(
            "p",
            f"All {len(record.stages)} stages ran."
            if not kept
            else f"{len(record.stages) - kept} of {len(record.stages)} stages ran; {kept} "
            f"{'was' if kept == 1 else 'were'} taken from the store, with the figures of the run "
            "that made them.",
        ),
        el("details", el("summary", "Every stage, with its time, memory and options"), table),
    )


def _stage(stage: StageRecord) -> Html:
    artifact = stage.artifact
    options = [el("code", f"{key}={given}") for key, given in stage.options.items()]
    peak = megabytes(artifact.peak_memory_mb * 1e6) if artifact.peak_memory_mb else "-"
    return el(
        "tr",
        el(
            "th",
            el("span", stage.name),
            el("small", stage.title),
            el("span", *options, class_="options") if options else None,
            scope="row",
        ),
        el("td", prose(stage.plugin), data_label="By", class_="by"),
        el(
            "td",
            el("span", stage.status, class_=f"badge {stage.status}"),
            " ",
            duration(stage.seconds),
            data_label="This run",
            class_="once",
        ),
        el(
            "td",
            duration(artifact.made_in_s) if artifact.made_at else "-",
            el("small", artifact.made_at[:16].replace("T", " ")),
            data_label="When made",
        ),
        el("td", peak, data_label="Peak memory"),
        el(
            "td",
            megabytes(artifact.bytes),
            el("small", f"{artifact.format} {artifact.precision}"),
            data_label="Size",
        ),
    )


def recipe(record: RunRecord) -> Html:
    """Return the resolved recipe, collapsed."""
    return el(
        "details",
        el("summary", "The resolved recipe, with every option"),
        el("pre", el("code", record.config)),
    )


def origin(record: RunRecord) -> Html:
    """Return the versions and the machine."""
    pairs = [("Machine", record.machine), *record.versions.items()]
    return el("dl", *(el("div", el("dt", k), el("dd", v)) for k, v in pairs), class_="facts small")
