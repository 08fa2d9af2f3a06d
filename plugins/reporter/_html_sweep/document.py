"""The page of a sweep: a table that needs no script, and pictures that are drawn from its data."""

from __future__ import annotations

from typing import TYPE_CHECKING

from plugins.reporter._html_run.frame import chapters, frame, part
from plugins.reporter._html_run.markup import Html, el
from plugins.reporter._html_sweep import data, head
from plugins.reporter._html_sweep.table import table

if TYPE_CHECKING:
    from core.plugin.records import SweepRecord

__all__ = ["document"]

#: In this order: each script uses names of those before it.
SCRIPTS = ("state.js", "card.js", "plot.js", "lines.js", "table.js")
LEADS = {
    "trade": "Each picture shows the quality against one cost. The line joins the points that no "
    "other point beats in these two figures; a ring marks the points that no other point beats in "
    "all objectives together. Hover, or move with the arrow keys, to see a point's figures; "
    "click to open its report.",
    "lines": "One line per point, from its choices to its figures; up is better for every figure. "
    "Drag along an axis to keep only the lines that pass there, click the axis to show all lines "
    "again. With the keyboard: arrows move the lower end, Shift and arrows the upper one.",
}


def document(record: SweepRecord) -> str:
    """Return the page as HTML; `record` was made presentable before."""
    parts = [
        ("trade", "Quality against cost", _trade(record)),
        ("lines", "From choices to figures", _lines(record)),
        ("points", "Points", table(record)),
        ("origin", "Versions and machine", head.origin(record)),
    ]
    shown = [
        (name, title, LEADS.get(name, ""), content) for name, title, content in parts if content
    ]
    main = el(
        "main",
        head.header(record),
        chapters(shown),
        el("div", id="card", role="tooltip", hidden=True),
        el("script", data.embedded(record), id="sweep-data", type="application/json"),
        class_="sweep",
    )
    return frame(
        f"{record.title or record.recipe} · Luthier sweep",
        main,
        styles=[part("_html_run", "page.css"), part("_html_sweep", "sweep.css")],
        scripts=[
            part("_html_run", "copy.js"),
            *(part("_html_sweep", name) for name in SCRIPTS),
        ],
    )


def _trade(record: SweepRecord) -> Html | None:
    """Return the place of the plots; None where no two figures can be compared."""
    plotted = [figure.name for figure in record.figures if figure.objective or figure.plotted]
    measured = any(set(plotted[:1]) & point.figures.keys() for point in record.points)
    if len(plotted) < 2 or not measured:  # noqa: PLR2004  # a picture has two axes
        return None
    return _live(el("div", class_="encodings"), el("div", class_="plots"))


def _lines(record: SweepRecord) -> Html | None:
    """Return the place of the parallel coordinates; None where they would be a single axis."""
    if not record.axes or not any(point.figures for point in record.points):
        return None
    return _live(el("div", class_="lines"))


def _live(*places: Html) -> Html:
    """Return places that a script fills, with a sentence for a browser without scripts."""
    said = "This picture needs JavaScript; the table below has all its numbers."
    return el("div", el("p", said, class_="note without-script"), *places, class_="live")
