"""What computed each node of the graph, by device and precision, from the runtimes' own traces."""

from __future__ import annotations

from typing import TYPE_CHECKING

from plugins.reporter._html_run.markup import Html, bar, el, join, legend, prose
from plugins.reporter._reading import part_of, ran_in

if TYPE_CHECKING:
    from core.plugin.placement import Placed, Placement
    from core.plugin.records import PlacementRecord, RunRecord

__all__ = ["placements"]

TITLES = ("Device", "Precision", "Nodes", "Of all nodes", "As asked")
#: The number of colours of bars.
COLOURS = 9


def placements(record: RunRecord) -> Html | None:
    """Return a bar and a table for each step that ran the graph; None where no step did."""
    if not record.placements:
        return None
    return join(*(_of_step(one) for one in record.placements))


def _of_step(one: PlacementRecord) -> Html:
    said = f"{ran_in(one)[0].upper()}{ran_in(one)[1:]}, on {one.device}"
    if one.placement is None:
        return el("p", prose(f"{said}: not measured. {_upper(one.plugin)} has no trace of what "
                             "computed each node."))  # fmt: skip
    found = one.placement
    return join(el("p", f"{said}:"), _bar(found), _table(found), _left(found),
                el("p", f"Counted from {found.source}.", class_="note"))  # fmt: skip


def _bar(found: Placement) -> Html:
    pieces = [
        (f"op{number % COLOURS}" if one.asked else "cpu", _said(one), one.nodes)
        for number, one in enumerate(found.placed)
    ]
    said = ", ".join(text for _, text, _ in pieces)
    return join(bar(pieces, said), legend([(name, text) for name, text, _ in pieces]))


def _table(found: Placement) -> Html:
    head = el("tr", *(el("th", title, scope="col") for title in TITLES))
    rows = (
        el(
            "tr",
            el("th", one.device, scope="row"),
            el("td", one.precision or "not told", data_label=TITLES[1]),
            el("td", f"{one.nodes}", data_label=TITLES[2]),
            el("td", part_of(one.nodes, found.nodes), data_label=TITLES[3]),
            el("td", "yes" if one.asked else "no", data_label=TITLES[4]),
        )
        for one in found.placed
    )
    return el("table", el("thead", head), el("tbody", *rows), class_="cards numbers")


def _left(found: Placement) -> Html | None:
    if not found.left:
        return None
    count, named = sum(one.nodes for one in found.unasked), len(found.left)
    title = f"The {count} nodes that did not run as asked"
    return el(
        "details",
        el("summary", title if named == count else f"{title}; {named} of them"),
        el("ul", *(el("li", el("code", f"{kind} {node}")) for node, kind in found.left),
           class_="nodes"),
    )  # fmt: skip


def _said(one: Placed) -> str:
    precision = f" in {one.precision}" if one.precision else ""
    return f"{one.device}{precision}{'' if one.asked else ', not as asked'}: {one.nodes}"


def _upper(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}"
