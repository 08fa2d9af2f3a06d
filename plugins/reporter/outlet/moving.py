"""The line that moves while a stage runs, where a terminal can show one."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress

__all__ = ["moving"]


def moving(console: Console) -> Progress:
    """Return a line that shows a stage, how far it is, and what it waits for."""
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
    from rich.table import Column

    return Progress(
        SpinnerColumn("line" if console.options.ascii_only else "dots"),
        TextColumn("{task.fields[stage]}  [dim]{task.description}[/dim]",
                   table_column=Column(no_wrap=True, overflow="ellipsis", ratio=2)),
        BarColumn(bar_width=18),
        TimeElapsedColumn(),
        TextColumn("[dim]{task.fields[message]}[/dim]",
                   table_column=Column(no_wrap=True, overflow="ellipsis", ratio=1)),
        console=console,
        transient=True,
        expand=True,
    )  # fmt: skip
