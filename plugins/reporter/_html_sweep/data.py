"""The data that the scripts of the page draw: one JSON text, embedded in it.

Numbers come with their text, so that page and table never differ by a digit.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from plugins.reporter._html_run.markup import Html, link_to
from plugins.reporter._reading import figure_text, numeric, short_names, spread_text

if TYPE_CHECKING:
    from core.plugin.records import Point, SweepMetric, SweepRecord

__all__ = ["embedded", "report_of"]

BYTES = ("B", "bytes")


def embedded(record: SweepRecord) -> Html:
    """Return axes, figures and points as JSON that cannot end the element around it."""
    import msgspec

    names = short_names(record.axes)
    content = {
        "axes": [
            {
                "key": axis.key,
                "name": names[axis.key],
                "values": list(dict.fromkeys(axis.values)),
                "numeric": numeric(axis),
            }
            for axis in record.axes
        ],
        "figures": [
            {
                "name": figure.name,
                "title": figure.title,
                # Numbers in bytes have too many digits for the scale of an axis.
                "unit": "MB" if figure.unit in BYTES else figure.unit,
                "better": figure.better,
                "plotted": figure.objective or figure.plotted,
            }
            for figure in record.figures
        ],
        "points": [_point(record, point) for point in record.points],
    }
    text = msgspec.json.encode(content).decode()
    return Html(text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"))


def report_of(point: Point) -> str | None:
    """Return the address of a point's own report, relative to the page."""
    return link_to(f"{point.folder}/report.html") if point.folder else None


def _point(record: SweepRecord, point: Point) -> dict[str, Any]:
    """Return a point as the scripts read it; JSON holds values of any type."""
    return {
        "number": point.number,
        "values": point.values,
        "status": point.status,
        "why": point.why,
        "front": point.front,
        "winner": point.number == record.winner,
        "seconds": point.seconds,
        "report": report_of(point),
        "command": point.command,
        "figures": {
            figure.name: {
                "value": _scaled(figure, point.figures[figure.name]),
                "text": _text(figure, point),
                "device": point.devices.get(figure.name, ""),
            }
            for figure in record.figures
            if figure.name in point.figures
        },
    }


def _text(figure: SweepMetric, point: Point) -> str:
    """Return a figure; a time comes with its spread and whether the machine was under load."""
    text, ends = figure_text(figure, point.figures[figure.name]), spread_text(figure, point)
    if not ends:
        return text
    return f"{text} ({ends}{', under load' if point.under_load else ''})"


def _scaled(figure: SweepMetric, number: float) -> float:
    return number / 1e6 if figure.unit in BYTES else number
