"""The line that moves while a stage runs, on a terminal that can show one."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress, Task

__all__ = ["moving"]


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

    class Stage(ProgressColumn):
        """The name of a stage, and dimmer its work; brackets in foreign text are no markup."""

        def render(self, task: Task) -> Text:
            """Return both as plain text."""
            return Text.assemble(task.fields["stage"], (f"  {task.description}", "dim"))

    return Progress(
        SpinnerColumn("line" if console.options.ascii_only else "dots"),
        Stage(table_column=Column(no_wrap=True, overflow="ellipsis", ratio=2)),
        BarColumn(bar_width=18),
        TimeElapsedColumn(),
        TextColumn("{task.fields[message]}", style="dim", markup=False,
                   table_column=Column(no_wrap=True, overflow="ellipsis", ratio=1)),
        console=console,
        transient=True,
        expand=True,
    )  # fmt: skip
