"""This run beside an earlier one: what differed, and what that did to every figure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from core import Metric
from plugins.reporter._html_run.markup import Html, el, join
from plugins.reporter._reading import SAME_DB, listed, megabytes, signed, title_of, value

if TYPE_CHECKING:
    from core.run.comparison import Change, Comparison, FigureChange

__all__ = ["earlier"]

BADGES = {"better": "ran", "worse": "missed"}
TITLES = {"budget": "SNR of the stage", "size": "Size"}
#: Changes of the recipe that are always visible; a run of another model differs in all keys.
OPEN = 20


def earlier(found: Comparison) -> Html:
    """Return the changes of recipe, versions and machine, and those of the figures."""
    lists = (
        ("Recipe", found.recipe),
        ("Versions", found.versions),
        ("Machine", found.machine if found.old.machine else ()),
        ("Contract", found.contract if found.old.started else ()),
    )
    same = listed(title.lower() for title, changes in lists[:3] if not changes)
    when = f" of {found.old.started[:16].replace('T', ' ')}" if found.old.started else ""
    return join(
        el(
            "p",
            f"The earlier run{when}: ",
            el("strong", found.old.title),
            f". Nothing differs in {same}." if same else ".",
        ),
        *(_changes(title, changes) for title, changes in lists if changes),
        _figures(found.figures)
        if found.old.figures
        else el("p", "The earlier run is a lock file, which has no figures.", class_="note"),
    )


def _changes(title: str, changes: Sequence[Change]) -> Html:
    shown, folded = changes[:OPEN], changes[OPEN:]
    return join(
        _changed(title, shown),
        el("details", el("summary", f"{len(folded)} more"), _changed("", folded))
        if folded
        else None,
    )


def _changed(title: str, changes: Sequence[Change]) -> Html:
    heads = (title or "Key", "Earlier", "This run")
    rows = (
        el(
            "tr",
            el("th", el("code", change.name), scope="row"),
            el("td", _said(change.old), data_label=heads[1]),
            el("td", _said(change.new), data_label=heads[2]),
        )
        for change in changes
    )
    return _table(heads, list(rows), "changes")


def _said(text: str | None) -> str:
    return "-" if text is None else text or "empty"


def _figures(figures: Sequence[FigureChange]) -> Html:
    """Return the figures that differ as a table; those that do not are counted."""
    changed = [figure for figure in figures if figure.verdict != "same"]
    same = len(figures) - len(changed)
    said = f"{len(changed)} of {len(figures)} figures differ." if changed else "No figure differs."
    heads = ("Figure", "Earlier", "This run", "Change", "")
    rows = [
        el(
            "tr",
            el("th", _title(figure), scope="row"),
            el("td", _number(figure, figure.old), data_label=heads[1]),
            el("td", _number(figure, figure.new), data_label=heads[2]),
            el("td", _by(figure), data_label=heads[3]),
            el(
                "td",
                el("span", figure.verdict, class_=f"badge {BADGES.get(figure.verdict, 'cached')}"),
            ),
        )
        for figure in changed
    ]
    return join(
        el("p", said if same else "Every figure differs."),
        _table(heads, rows, "numbers changes") if rows else None,
    )


def _table(heads: Sequence[str], rows: list[Html], kind: str) -> Html:
    head = el("tr", *(el("th", title, scope="col") if title else el("td") for title in heads))
    return el("table", el("thead", head), el("tbody", *rows), class_=kind)


def _title(figure: FigureChange) -> Html:
    title = TITLES.get(figure.name) or title_of(figure.name)
    return join(title[:1].upper() + title[1:], el("small", figure.of) if figure.of else None)


def _number(figure: FigureChange, number: float | None) -> str:
    if number is None:
        return "-"
    if figure.unit in ("bytes", "B"):
        return megabytes(number)
    if figure.unit == "dB" and number >= SAME_DB:
        return "no difference"
    return value(Metric(figure.name, number, figure.unit, ""))


def _by(figure: FigureChange) -> str:
    """Return the change: in dB as a difference, else in per cent where that means something."""
    if figure.old is None or figure.new is None or SAME_DB in (figure.old, figure.new):
        return "-"
    by = figure.new - figure.old
    if figure.unit.startswith("dB"):
        return signed(f"{by:+.2f} dB")
    return signed(f"{100 * by / figure.old:+.1f} %" if figure.old > 0 else f"{by:+.4g}")
