"""The end of a sweep for a terminal of any width: the points, the winner, and where the page is."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from rich.text import Text

from plugins.reporter._reading import duration, finite, outcome, winner_of
from plugins.reporter._terminal.sweep_points import points_table
from plugins.reporter._terminal.sweep_reasons import reasons

if TYPE_CHECKING:
    from rich.console import Console

    from core.plugin.records import SweepRecord

__all__ = ["show"]

#: The files of a sweep, the best to open first.
LEFT = (("sweep.html", "sweep"), ("sweep.csv", "table"))


def show(record: SweepRecord, folder: str, console: Console) -> None:
    """Print the points, why some have no figures, the notices, the winner, and the places."""
    record = finite(record)
    whole = not console.is_terminal
    console.print()
    console.print(Text(f"{outcome(record)}, in {duration(record.seconds)}"), soft_wrap=whole)
    console.print()
    if record.points:
        console.print(points_table(record, console.width))
        console.print()
    for line in (found := list(reasons(record))):
        console.print(line, soft_wrap=whole)
    if found:
        console.print()
    for notice in record.notices:
        console.print(Text(f"note: {notice}", style="yellow"), soft_wrap=whole)
    taken = winner_of(record)
    if taken is None:
        why = record.why or "no point ran to its end"
        console.print(Text(f"No point is taken: {why}", style="bold red"), soft_wrap=whole)
    else:
        said = f"Point {taken.number} is taken: {taken.label}"
        console.print(Text(said, style="bold green"), soft_wrap=whole)
        if record.why:
            console.print(Text(record.why), soft_wrap=whole)
        # A command and a path are never wrapped or styled, so that they can be copied.
        console.print(Text(f"\n{taken.command}"), soft_wrap=True)
    console.print()
    places = [(title, Path(folder, name)) for name, title in LEFT]
    places = [(title, path) for title, path in places if path.exists()]
    for title, path in places or [("results", Path(folder))]:
        console.print(Text(f"{title:<8}{path}"), soft_wrap=True)
