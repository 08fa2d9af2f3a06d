"""The top of a report: the result, its target, the key numbers, and which device ran what."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from core import Metric
from core.measure.contract import lowest_parity, story
from plugins.reporter._html_run.budget import ARROW
from plugins.reporter._html_run.markup import Html, el, join, prose
from plugins.reporter._html_run.sizes import models
from plugins.reporter._reading import (
    OVERALL,
    average,
    cold_start,
    costliest,
    decibels,
    duration,
    factor,
    figure,
    headline,
    listed,
    megabytes,
    nearness,
    places,
    spread,
    tables,
    title_of,
    took_part,
    value,
)

if TYPE_CHECKING:
    from core.plugin.records import RunRecord

__all__ = ["header", "notices", "where"]

ITEMS_NAMED = 3
MILLION = 1_000_000
LEAST_DB = 0.005
SEVERITIES = ("danger", "warning", "info")
TITLES = {"danger": "Read this first", "warning": "Warning", "info": "For information"}
MANY = {"warning": "warnings", "info": "notes"}
#: The end of a first sentence: that of a grave notice is set apart from the remedy.
SENTENCE = re.compile(r"(?<=\.) (?=[A-Z])")


def header(record: RunRecord, again: Html) -> Html:
    """Return title, subject and key numbers; below, `again`: the files and the command."""
    items = list(dict.fromkeys(saved.item for saved in record.saved))
    more = len(items) - ITEMS_NAMED
    named = listed([*items[:ITEMS_NAMED], *([f"{more} more"] if more > 0 else [])])
    facts = [
        ("Input", named),
        ("Target", record.target.title or record.target.name or "none named"),
        ("Precision", record.precision),
        ("Weights", f"{record.weights or 'not stated'} ({_count(record.parameters)} parameters)"),
        ("Licence", record.licence or "not stated"),
        ("Run", f"{record.started[:16].replace('T', ' ')}, {duration(record.seconds)}"),
    ]
    return el(
        "header",
        el("p", "Luthier report · ", el("code", record.recipe), class_="eyebrow"),
        el("h1", record.title or record.recipe),
        _breach(record),
        notices(record, "danger"),
        notices(record, "warning"),
        el(
            "p",
            took_part(record),
            class_="took-part" + ("" if record.target_took_part else " absent"),
        ),
        el("div", *(_tile(*tile) for tile in _tiles(record)), class_="tiles"),
        el("p", verdict.replace(" → ", ARROW), class_="verdict")
        if (verdict := costliest(record))
        else None,
        notices(record, "info"),
        el("dl", *(el("div", el("dt", k), el("dd", v)) for k, v in facts if v), class_="facts"),
        again,
    )


def _breach(record: RunRecord) -> Html | None:
    """Return a panel for a contract that was missed, in which case nothing was shipped."""
    broken = [one for one in record.contract if not one.held]
    if not broken:
        return None
    return el(
        "div",
        el("strong", "The contract is broken, nothing was shipped"),
        *(el("p", prose(story(one))) for one in broken),
        class_="notice danger",
        role="alert",
    )


def notices(record: RunRecord, severity: str) -> Html | None:
    """Return the notices of one severity: grave ones as panels of their own, others as a list."""
    texts = [notice.text for notice in record.notices if notice.severity == severity]
    if not texts:
        return None
    if severity == "danger":
        return join(*(_panel(severity, TITLES[severity], [text]) for text in texts))
    title = TITLES[severity] if len(texts) == 1 else f"{len(texts)} {MANY[severity]}"
    return _panel(severity, title, texts)


def _panel(severity: str, title: str, texts: list[str]) -> Html:
    said = (
        [el("p", prose(part)) for part in SENTENCE.split(texts[0], maxsplit=1)]
        if len(texts) == 1
        else [el("ul", *(el("li", prose(text)) for text in texts))]
    )
    return el(
        "div",
        el("strong", title),
        *said,
        class_=f"notice {severity}",
        role="alert" if severity == "danger" else "note",
    )


def where(record: RunRecord) -> Html:
    """Return the table of devices: what each one computed, and which numbers come from it."""
    head = el("tr", *(el("th", t, scope="col") for t in ("Where", "What", "Numbers from there")))
    rows = [
        el(
            "tr",
            el("th", place.device, scope="row"),
            el("td", place.did, data_label="What"),
            el("td", prose(place.numbers), data_label="Numbers from there"),
        )
        for place in places(record)
    ]
    return el("table", el("thead", head), el("tbody", *rows), class_="cards")


def _tiles(record: RunRecord) -> Iterator[tuple[str, str, str]]:
    """Yield up to four numbers: the title, the number, and where it was measured."""
    best, nearest = headline(record.metrics), lowest_parity(record.metrics, record.budget)
    if best is not None:
        title = "Separation (SDR)" if best.name == "sdr" else title_of(best.name)
        items = len(tables(record.metrics))
        mean = f"mean of {items} items; " if items > 1 else ""
        note = f"{best.note}; " if best.note and best.name != "sdr" else ""
        number = decibels(best.value) if best.unit == "dB" else value(best)
        about = f"{_below_fp32(record, best)}{mean}{note}on {best.device}"
        yield title[0].upper() + title[1:], number, about
    if nearest is not None:
        where = f"SNR, in {record.against}; {_worst_of(record, nearest)}on {nearest.device}"
        yield "Nearness to FP32 PyTorch", nearness(nearest.value, record.contract), where
    speed = _find(record, "real_time_factor", "")
    median = _find(record, "latency", "median")
    per = f" ({within})" if (within := spread(record.metrics, "latency")) else ""
    start = f"{said}; " if (said := cold_start(record.metrics)) else ""
    if speed and median:
        about = f"{duration(median.value / 1000)} per window{per}; {start}on {speed.device}"
        yield "Speed", factor(speed.value), about
    elif median:
        about = f"per window{per}; {start}on {median.device}"
        yield "Latency", duration(median.value / 1000), about
    shipped = models(record)
    if shipped:
        artifact = shipped[-1].artifact
        npu = artifact.facts.get("partitions")
        parts = f", {npu} accelerator partition{'s' if npu != 1 else ''}" if npu else ""
        yield "Model to ship", megabytes(artifact.bytes), f"{artifact.format}{parts}"


def _below_fp32(record: RunRecord, best: Metric) -> str:
    """Return how far a measure lies below that of FP32, in the windows that are compared."""
    table = average(record.metrics)
    row = table.rows.get(OVERALL, ()) if table else ()
    reference = next((m for m in row if m and m.name == f"{best.name}_reference"), None)
    if reference is None or best.better != "higher":
        return ""
    drop = reference.value - best.value
    return f"{figure(drop, 2)} dB below FP32; " if drop >= LEAST_DB else ""


def _worst_of(record: RunRecord, nearest: Metric) -> str:
    """Return the worst label of the worst item, which decides the nearness."""
    several = len(tables(record.metrics)) > 1
    named = [nearest.label] if nearest.label else []
    named += [f"of {nearest.item}"] if several and nearest.item else []
    return f"worst: {' '.join(named)}; " if named else ""


def _find(record: RunRecord, name: str, statistic: str) -> Metric | None:
    return next((m for m in record.metrics if (m.name, m.statistic) == (name, statistic)), None)


def _tile(title: str, number: str, origin: str) -> Html:
    figure, _, unit = number.partition(" ")
    return el(
        "div",
        el("p", title, class_="tile-title"),
        el("p", figure, el("span", f" {unit}") if unit else None, class_="tile-number"),
        el("p", origin, class_="note"),
        class_="tile",
    )


def _count(parameters: int) -> str:
    if parameters >= MILLION:
        return f"{parameters / MILLION:.1f} million"
    return f"{parameters:,}"
