"""A sweep as CSV: one row per point, for a spreadsheet or a data frame."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING

from plugins.reporter._reading.sweep import winner_of

if TYPE_CHECKING:
    from core.plugin.records import Point, SweepMetric, SweepRecord

__all__ = ["spreadsheet"]

#: The ends of a spread: 90 % of the times lie between them.
ENDS = ("5th percentile", "95th percentile")
#: A spreadsheet reads a cell that begins with one of these as a formula; some read their wide
#: forms, too.
FORMULA = (*"=+-@\t\r\n", *"\uff1d\uff0b\uff0d\uff20")


def spreadsheet(record: SweepRecord) -> str:
    """Return the points as CSV (RFC 4180, lines end in CRLF); numbers have a point and no unit.

    Text that a spreadsheet would evaluate gets a leading apostrophe.
    """
    out = io.StringIO()
    writer = csv.writer(out)
    best = winner_of(record)
    timed = [f for f in record.figures if any(f.name in point.spreads for point in record.points)]
    writer.writerow(
        map(
            _safe,
            [
                "number",
                *(axis.key for axis in record.axes),
                "status",
                *(_head(figure) for figure in record.figures),
                *(f"{_head(figure)} {end}" for figure in timed for end in ENDS),
                "cores that others kept busy",
                "measured on",
                "front",
                "winner",
                "seconds (s)",
                "folder",
                "why",
                "command",
            ],
        )
    )
    for point in record.points:
        writer.writerow(
            [
                point.number,
                *(_safe(point.values.get(axis.key, "")) for axis in record.axes),
                point.status,
                *(point.figures.get(figure.name, "") for figure in record.figures),
                *(end for figure in timed for end in point.spreads.get(figure.name, ("", ""))),
                "" if point.load is None else round(point.load.others, 2),
                _safe(_devices(record, point)),
                "yes" if point.front else "no",
                "yes" if point is best else "no",
                round(point.seconds, 3),
                *map(_safe, (point.folder, point.why, point.command)),
            ]
        )
    return out.getvalue()


def _head(figure: SweepMetric) -> str:
    return f"{figure.title} ({figure.unit})" if figure.unit else figure.title


def _devices(record: SweepRecord, point: Point) -> str:
    """Return every device with the figures that come from it."""
    named: dict[str, list[str]] = {}
    for figure in record.figures:
        device = point.devices.get(figure.name)
        if figure.name in point.figures and device:
            named.setdefault(device, []).append(figure.title)
    return "; ".join(f"{device}: {', '.join(titles)}" for device, titles in named.items())


def _safe(text: str) -> str:
    if not text.startswith(FORMULA):
        return text
    try:
        float(text)
    except ValueError:
        return f"'{text}"
    return text
