"""The table of points: complete without a script, which only sorts, filters and hides."""

from __future__ import annotations

from typing import TYPE_CHECKING

from plugins.reporter._html_run.markup import Html, el, join, prose
from plugins.reporter._html_sweep.data import report_of
from plugins.reporter._reading import (
    duration,
    figure_text,
    listed,
    origins,
    short_names,
    spread_text,
)

if TYPE_CHECKING:
    from core.plugin.records import Point, SweepRecord

__all__ = ["table"]

TITLES = {
    "done": "done",
    "missed": "contract missed",
    "refused": "refused",
    "failed": "failed",
}
SPREAD = (
    "Below each time are its 5th and its 95th percentile. Under load: other processes kept a tenth "
    "or more of the cores busy during the measurement, so the time is too long."
)
#: More points than this are counted rather than named.
NAMED = 6


def table(record: SweepRecord) -> Html:
    """Return every point with its values, status, figures and time; below, the devices.

    Beside a time stand, in small print, its 5th and its 95th percentile.
    """
    names = short_names(record.axes)
    heads = [
        _head("number", "Point"),
        *(_head(f"axis:{axis.key}", names[axis.key]) for axis in record.axes),
        _head("status", "Status"),
        *(_head(f"figure:{figure.name}", figure.title) for figure in record.figures),
        _head("seconds", "Took"),
    ]
    return join(
        el("div", class_="controls"),
        el(
            "div",
            el(
                "table",
                el("thead", el("tr", *heads)),
                el("tbody", *(_row(record, names, point) for point in record.points)),
                class_="points",
            ),
            class_="scroll",
            tabindex="0",
            role="region",
            aria_label="Table of points",
        ),
        _measured_on(record),
    )


def _head(key: str, title: str) -> Html:
    # The name of an axis is its key in a recipe.
    shown = title if key.startswith("axis:") else _capital(title)
    return el("th", shown, scope="col", data_key=key)


def _capital(title: str) -> str:
    return title[:1].upper() + title[1:]


def _row(record: SweepRecord, names: dict[str, str], point: Point) -> Html:
    address = report_of(point)
    title = f"{point.number}"
    won = point.number == record.winner
    marks = [
        el("span", word, class_=f"badge {name}")
        for name, word, on in (("ran", "taken", won), ("cached", "front", point.front))
        if on
    ]
    cells = [
        el(
            "td",
            point.values.get(axis.key, "-"),
            data_label=names[axis.key],
            data_key=f"axis:{axis.key}",
        )
        for axis in record.axes
    ]
    cells.append(_status(point))
    for figure in record.figures:
        number = point.figures.get(figure.name)
        ends = spread_text(figure, point)
        cells.append(
            el(
                "td",
                "-" if number is None else figure_text(figure, number),
                el("small", ends, " under load" if point.under_load else None) if ends else None,
                title=point.devices.get(figure.name) if number is not None else None,
                data_label=_capital(figure.title),
                data_key=f"figure:{figure.name}",
                class_="figure" + (" none" if number is None else ""),
            )
        )
    ran = (
        f"{len(point.ran)} steps run, {len(point.cached)} cached"
        if point.ran or point.cached
        else ""
    )
    cells.append(
        el("td", duration(point.seconds), el("small", ran) if ran else None, data_label="Took",
           data_key="seconds", class_="figure")
    )  # fmt: skip
    return el(
        "tr",
        el("th", el("a", title, href=address) if address else title, *marks,
           scope="row", data_key="number"),
        *cells,
        data_number=str(point.number),
        class_="won" if won else "",
    )  # fmt: skip


def _status(point: Point) -> Html:
    return el(
        "td",
        el("span", TITLES[point.status], class_=f"badge {point.status}"),
        el("small", prose(point.why)) if point.why else None,
        data_label="Status",
        data_key="status",
        class_="status",
    )


def _measured_on(record: SweepRecord) -> Html | None:
    """Return a line per device: which figures come from it, and of which points."""
    lines = []
    for origin in origins(record):
        whose = listed(origin.titles)
        if len(origin.points) > NAMED:
            whose += f" of {len(origin.points)} points"
        elif origin.points:
            few = "point" if len(origin.points) == 1 else "points"
            whose += f" of {few} {listed(map(str, origin.points))}"
        where = f"Measured on {origin.device}" if origin.device else "No device is named for"
        lines.append(el("li", f"{where}{':' if origin.device else ''} {whose}."))
    if any(point.spreads for point in record.points):
        lines.append(el("li", SPREAD))
    return el("ul", *lines, class_="note measured-on") if lines else None
