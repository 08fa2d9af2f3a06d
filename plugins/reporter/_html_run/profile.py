"""The device's own measurements: the share of every compute unit, and the slowest layers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from plugins.reporter._html_run.markup import Html, el, join, legend
from plugins.reporter._reading import profile_of

if TYPE_CHECKING:
    from core.plugin.records import RunRecord
    from plugins.reporter._reading import Layer, Unit

__all__ = ["profile"]

#: Layers that are always visible; the others are collapsed.
OPEN = 10


def profile(record: RunRecord) -> Html | None:
    """Return the device's own profile, or nothing where no device gave one."""
    found = profile_of(record)
    if found is None:
        return None
    pairs = (el("div", el("dt", name), el("dd", value)) for name, value in found.said)
    shown, folded = found.slowest[:OPEN], found.slowest[OPEN:]
    return join(
        el("p", f"{found.layers_in_all} layers, timed by the device itself: {found.device}."),
        _bar(found.units),
        legend([(_colour(n, unit), _said(unit)) for n, unit in enumerate(found.units)]),
        _table(shown, "The slowest layers"),
        el("details", el("summary", f"The next {len(folded)}"), _table(folded, ""))
        if folded
        else None,
        el("dl", *pairs, class_="facts small") if found.said else None,
    )


def _bar(units: Sequence[Unit]) -> Html:
    """Return the share of every compute unit as one bar; the CPU has the colour of a loss."""
    start, rects = 0.0, []
    for number, unit in enumerate(units):
        width = 100 * unit.share
        rects.append(
            el(
                "rect",
                el("title", _said(unit)),
                x=f"{start:.3f}%",
                y="0",
                width=f"{width:.3f}%",
                height="34",
                class_=_colour(number, unit),
            )
        )
        start += width
    said = ", ".join(_said(unit) for unit in units)
    return el(
        "svg", *rects, width="100%", height="34", role="img", class_="partition", aria_label=said
    )


def _table(layers: Sequence[Layer], title: str) -> Html:
    titles = ("Layer", "Operator", "Ran on", "Cost", "Share")
    head = el("tr", *(el("th", text, scope="col") for text in titles))
    rows = (
        el(
            "tr",
            el("th", el("code", layer.name), scope="row"),
            el("td", layer.type, data_label=titles[1]),
            el("td", layer.unit, data_label=titles[2]),
            el("td", layer.cost, data_label=titles[3]),
            el("td", f"{100 * layer.share:.1f} %", data_label=titles[4]),
        )
        for layer in layers
    )
    caption = el("caption", title) if title else None
    return el("table", caption, el("thead", head), el("tbody", *rows), class_="cards numbers")


def _said(unit: Unit) -> str:
    return f"{unit.name}: {100 * unit.share:.0f} % of the time, {unit.layers} layers"


def _colour(number: int, unit: Unit) -> str:
    return "cpu" if unit.name == "CPU" else f"op{number}"
