"""The work per precision, counted from the graph that ships, as a bar and a table."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from plugins.reporter._html_run.markup import Html, bar, el, join, legend
from plugins.reporter._reading import counted, megabytes, part_of

if TYPE_CHECKING:
    from core.plugin.records import RunRecord

__all__ = ["labels"]


def labels(record: RunRecord) -> Html | None:
    """Return the multiply-accumulates and the nodes per precision; None where none was counted."""
    every = (stage.artifact.facts for stage in record.stages)
    facts = next((facts for facts in every if "macs_by_precision" in facts), None)
    if facts is None:
        return None
    macs, nodes = counted(facts.get("macs_by_precision")), counted(facts.get("nodes_by_precision"))
    total, nodes_in_all = sum(macs.values()), sum(nodes.values())
    names = list(dict.fromkeys([*macs, *nodes]))
    rows = [
        el(
            "tr",
            el("th", name, scope="row"),
            el("td", part_of(macs.get(name, 0), total), data_label="Multiply-accumulates"),
            el("td", f"{nodes.get(name, 0)}", data_label="Nodes"),
            el("td", part_of(nodes.get(name, 0), nodes_in_all), data_label="Of all nodes"),
        )
        for name in names
    ]
    titles = ("Precision", "Multiply-accumulates", "Nodes", "Of all nodes")
    head = el("tr", *(el("th", title, scope="col") for title in titles))
    moved = facts.get("moved_bytes")
    return join(
        _bar(macs, total) if total else None,
        el("table", el("thead", head), el("tbody", *rows), class_="numbers"),
        el(
            "p",
            f"{total / 1e9:.2f} billion multiply-accumulates a window"
            + (
                f"; {megabytes(moved)} of weights and activations move"
                if isinstance(moved, int | float)
                else ""
            )
            + ". Counted in the graph that is played, or compiled"
            + (
                ": w8a8 multiplies 8-bit weights with 8-bit activations, a16 is a node without "
                "weights on 16-bit activations."
                if any(re.match(r"[wa]\d", name) for name in names)
                else "."
            ),
            class_="note",
        ),
    )


def _bar(macs: dict[str, int], total: int) -> Html:
    pieces = [
        (f"op{number % 9}", f"{name} {part_of(count, total)}", count)
        for number, (name, count) in enumerate(macs.items())
    ]
    said = ", ".join(text for _, text, _ in pieces)
    return join(
        bar(pieces, f"multiply-accumulates: {said}"),
        legend([(name, text) for name, text, _ in pieces]),
    )
