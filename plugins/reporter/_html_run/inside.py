"""Inside the quantised graph: the cost of each part at 8 bits, and the tensors that lost most."""

from __future__ import annotations

from typing import TYPE_CHECKING

from plugins.reporter._html_run.markup import Html, el, join
from plugins.reporter._reading import Part, Tensor, decibels, parts_of, tensors_of

if TYPE_CHECKING:
    from core.plugin.records import RunRecord

__all__ = ["inside"]

#: The most sensitive parts that are always visible on the page; the others are collapsed.
OPEN = 12
TOP_DB = 100.0
COLOURS = {"int8": "op0", "int16": "op3", "float": "op8"}


def inside(record: RunRecord) -> Html | None:
    """Return the sensitivity of every part, most sensitive first, and the worst tensors."""
    parts, tensors = parts_of(record), tensors_of(record)
    if not parts and not tensors:
        return None
    return join(_sensitivity(parts) if parts else None, _worst(tensors) if tensors else None)


def _sensitivity(parts: list[Part]) -> Html:
    ordered = sorted(parts, key=lambda part: TOP_DB if part.db_8 is None else part.db_8)
    macs = sum(part.macs for part in parts) or 1
    rows = [_row(part, macs) for part in ordered]
    rest = rows[OPEN:]
    return join(
        el(
            "p",
            "The SNR at the worst output with one part alone at 8 bits and all others in float: "
            "the shorter the bar, the more that part needs 16 bits.",
            class_="lead",
        ),
        _table(rows[:OPEN]),
        el("details", el("summary", f"The {len(rest)} less sensitive parts"), _table(rest))
        if rest
        else None,
    )


def _row(part: Part, macs: int) -> Html:
    said = "-" if part.db_8 is None else decibels(part.db_8)
    width = 100 * max(0.0, min(part.db_8 or 0.0, TOP_DB)) / TOP_DB
    bar = el("rect", x="0", y="0", width=f"{width:.2f}%", height="8", rx="2",
             class_=COLOURS.get(part.level, "op8"))  # fmt: skip
    return el(
        "tr",
        el("th", part.name, el("small", f"{100 * part.macs / macs:.1f} % of the work"),
           scope="row"),
        el("td", el("div", el("span", said, class_="number"),
                    el("svg", bar, width="100%", height="8", aria_hidden="true"),
                    class_="meter"), class_="meter-cell", data_label="Alone at 8 bits"),
        el("td", "-" if part.db_16 is None else decibels(part.db_16),
           data_label="Alone at 16 bits"),
        el("td", part.level, data_label="Got"),
    )  # fmt: skip


def _worst(tensors: list[Tensor]) -> Html:
    rows = [
        el(
            "tr",
            el("th", el("code", tensor.name), scope="row"),
            el("td", tensor.operator, data_label="Made by"),
            el("td", decibels(tensor.snr_db), data_label="SNR"),
        )
        for tensor in tensors
    ]
    titles = ("Tensor", "Made by", "SNR")
    head = el("tr", *(el("th", title, scope="col") for title in titles))
    caption = el("caption", "The tensors that lost most, against the float graph")
    return el("table", caption, el("thead", head), el("tbody", *rows))


def _table(rows: list[Html]) -> Html:
    titles = ("Part", "Alone at 8 bits", "Alone at 16 bits", "Got")
    head = el("tr", *(el("th", title, scope="col") for title in titles))
    return el("table", el("thead", head), el("tbody", *rows), class_="parts")
