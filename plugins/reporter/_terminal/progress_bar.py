"""The line that moves while a stage runs, on a terminal that can show one."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress, Task

__all__ = ["moving"]

#: From so many seconds on a stage is long: its pace is known, and a person wants to know the end.
LONG_S = 5.0
#: Columns that the whole bar needs.
ROOMY = 80


def moving(console: Console) -> Progress:
    """Return a line that shows a stage, its progress, and what it waits for."""
    from rich.progress import (
        BarColumn,
        Progress,
        ProgressColumn,
        SpinnerColumn,
        TextColumn,
        TimeElapsedColumn,
    )
    from rich.table import Column
    from rich.text import Text

    from plugins.reporter._reading import time_left

    class Left(ProgressColumn):
        """The time that is left, once it is known and long enough to wait for."""

        max_refresh = 0.5

        def render(self, task: Task) -> Text:
            """Return nothing for a stage that began just now, or whose end nobody knows."""
            left = task.time_remaining
            known = left is not None and not task.finished and (task.elapsed or 0) >= LONG_S
            return Text(time_left(left) if known and left is not None else "", "dim")

    class Stage(ProgressColumn):
        """The name of a stage, and dimmer its work; brackets in foreign text are no markup."""

        def render(self, task: Task) -> Text:
            """Return both as plain text."""
            return Text.assemble(task.fields["stage"], (f"  {task.description}", "dim"))

    return Progress(
        SpinnerColumn("line" if console.options.ascii_only else "dots"),
        Stage(table_column=Column(no_wrap=True, overflow="ellipsis", ratio=2)),
        BarColumn(bar_width=18 if console.width >= ROOMY else 8),
        TimeElapsedColumn(),
        Left(table_column=Column(no_wrap=True)),
        TextColumn("{task.fields[message]}", style="dim", markup=False,
                   table_column=Column(no_wrap=True, overflow="ellipsis", ratio=1)),
        console=console,
        transient=True,
        expand=True,
    )  # fmt: skip
