"""The table of a sweep's points, with as many columns as the terminal has room for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from plugins.reporter._reading import figure_text, listed, short_names, spread_text, winner_of

if TYPE_CHECKING:
    from rich.console import RenderableType

    from core.plugin.records import Axis, Point, SweepMetric, SweepRecord

__all__ = ["STYLES", "points_table"]

STYLES = {"done": "green", "missed": "red", "refused": "yellow", "failed": "red"}
GAP = 2
#: A longer value is cut; the page and the command show it whole.
LONGEST = 18
#: Rows that a person still reads; in a larger sweep those on the front come first.
ROWS = 40
#: The mark of a time that was measured while other processes ran.
LOADED = "!"
#: From this rank on a column is left out where there is no room.
ALWAYS = 1


@dataclass(frozen=True)
class _Column:
    """One column: its cells, and its rank; the higher, the sooner it is left out."""

    title: str
    cells: tuple[str, ...]
    rank: int
    right: bool = False

    @property
    def width(self) -> int:
        """Return the width of the column on the terminal, with the gap behind it."""
        return max(map(len, (self.title, *self.cells))) + GAP


def points_table(record: SweepRecord, width: int) -> Table:
    """Return the points in their order; `*` marks the front, and a word marks the winner.

    Times have their spread beside them, unless that would push a column out.
    """
    shown = _shown(record)
    every = _columns(record, shown, spreads=True)
    kept, spreads = _fitting(every, width), any(p.spreads for p in shown)
    if spreads and len(kept) < len(every):
        every, spreads = _columns(record, shown, spreads=False), False
        kept = _fitting(every, width)
    columns = [column for column in every if column.title in kept]
    table = Table(box=None, padding=(0, GAP, 0, 0), header_style="dim", caption_justify="left")
    for column in columns:
        table.add_column(Text(column.title), justify="right" if column.right else "left",
                         overflow="fold", no_wrap=column.rank <= ALWAYS)  # fmt: skip
    for row, point in enumerate(shown):
        cells: list[RenderableType] = [
            Text(c.cells[row], style=STYLES[point.status] if c.title == "status" else "")
            for c in columns
        ]
        table.add_row(*cells, style="bold" if point.number == record.winner else None)
    without = [column.title for column in every if column.title not in kept]
    if not spreads and any(point.spreads for point in shown):
        without.append("how far times spread")
    table.caption = _caption(record, len(shown), without)
    return table


def _fitting(columns: Sequence[_Column], width: int) -> set[str]:
    """Return the titles of the columns that fit, those of the lowest rank first."""
    kept, room = set[str](), width
    for column in sorted(columns, key=lambda column: column.rank):
        if column.rank <= ALWAYS or column.width <= room:
            kept.add(column.title)
            room -= column.width
    return kept


def _shown(record: SweepRecord) -> list[Point]:
    """Return the points to list: of many, the winner and the front, then those that ran."""
    if len(record.points) <= ROWS:
        return list(record.points)
    best = winner_of(record)
    ranked = sorted(record.points, key=lambda p: (p is not best, not p.front, not p.figures))
    return sorted(ranked[:ROWS], key=lambda p: p.number)


def _columns(record: SweepRecord, shown: Sequence[Point], *, spreads: bool) -> list[_Column]:
    names = short_names(record.axes)

    def cells(cell: Callable[[Point], str]) -> tuple[str, ...]:
        return tuple(map(cell, shown))

    def of_axis(axis: Axis, rank: int) -> _Column:
        return _Column(_cut(names[axis.key]), cells(lambda p: _cut(p.values.get(axis.key, "-"))),
                       rank)  # fmt: skip

    def of_figure(figure: SweepMetric, rank: int) -> _Column:
        def cell(point: Point) -> str:
            number = point.figures.get(figure.name)
            if number is None:
                return "-"
            ends = spread_text(figure, point)
            text = figure_text(figure, number) + (f" ({ends})" if ends and spreads else "")
            return f"{text} {LOADED}" if ends and point.under_load else text

        return _Column(_cut(figure.title), cells(cell), rank, right=True)

    objectives = [figure for figure in record.figures if figure.objective]
    taken = record.winner
    number = cells(lambda p: f"{p.number}{'*' if p.front else ''}")
    status = cells(lambda p: "taken" if p.number == taken else p.status)
    # The quality comes before the axes, because a table of settings alone says nothing.
    return [
        _Column("#", number, 0),
        *(of_axis(axis, rank) for rank, axis in enumerate(record.axes, ALWAYS + 2)),
        _Column("status", status, ALWAYS),
        *(
            of_figure(figure, ALWAYS + 1 if not rank else ALWAYS + 2 + len(record.axes) + rank)
            for rank, figure in enumerate(objectives)
        ),
    ]


def _cut(text: str) -> str:
    """Return text that fits a column; a path keeps its end, which tells more."""
    if len(text) <= LONGEST:
        return text
    return f"…{text[1 - LONGEST :]}" if "/" in text else f"{text[: LONGEST - 1]}…"


def _caption(record: SweepRecord, rows: int, without: Sequence[str]) -> str | None:
    """Return the meaning of the marks, and the columns that did not fit."""
    said = []
    if any(point.front for point in record.points):
        said.append("* no other point beats it in every objective")
    if any(point.under_load for point in record.points):
        said.append(f"{LOADED} measured under load")
    if rows < len(record.points):
        said.append(f"{len(record.points) - rows} more points are in the files below")
    if without:
        said.append(f"no room here for {listed(without)}")
    return "; ".join(said) or None
