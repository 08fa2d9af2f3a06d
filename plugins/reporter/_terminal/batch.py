"""The end of a batch, for a terminal: the items played, the speed, and the failed items."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from plugins.reporter._reading import duration, factor

if TYPE_CHECKING:
    from rich.console import Console

    from core.plugin.records import BatchRecord

__all__ = ["show_batch"]

STYLES = {"danger": "bold red", "warning": "yellow", "info": "dim"}
#: Failed items that are named; a damaged disk must not scroll the summary away.
NAMED = 20


def show_batch(record: BatchRecord, folder: str, console: Console) -> None:
    """Print the counts, the speed, the notices, the items that failed, and where the rest lies."""
    wrap = not console.is_terminal
    console.print()
    counts = [
        f"{record.played} played",
        f"{record.done_before} done before",
        f"{len(record.failed)} failed",
    ]
    console.print(Text(f"{record.items} items: {', '.join(counts)}", style="bold"))
    speed = record.real_time_factor
    if record.played:
        heard = f"{duration(record.covered_s)} of sound in " if speed else "in "
        fast = f", {factor(speed)}" if speed else ""
        many = f", in {record.processes} processes" if record.processes > 1 else ""
        line = f"{heard}{duration(record.seconds)}{fast}, on {record.device}{many}"
        console.print(Text(line), soft_wrap=wrap)
    for notice in sorted(record.notices, key=lambda n: list(STYLES).index(n.severity)):
        told = f"{'note' if notice.severity == 'info' else notice.severity}: {notice.text}"
        console.print(Text(told, style=STYLES[notice.severity]), soft_wrap=wrap)
    if record.failed:
        console.print()
        console.print(_failed(record))
    console.print()
    # A path is never wrapped or styled, so that it can be copied.
    console.print(Text(f"items   {folder}"), soft_wrap=True)


def _failed(record: BatchRecord) -> Table:
    table = Table(title="Not played", title_justify="left", title_style="bold", box=None,
                  padding=(0, 2, 0, 0), header_style="dim", caption_justify="left")  # fmt: skip
    table.add_column("song", overflow="fold", ratio=1)
    table.add_column("why", overflow="fold", ratio=2)
    for one in record.failed[:NAMED]:
        again = f" (tried {one.retries + 1} times)" if one.retries else ""
        table.add_row(Text(one.source), Text(one.reason.partition("; ")[0] + again))
    more = len(record.failed) - NAMED
    if more > 0:
        table.caption = f"{more} more are in manifest.jsonl"
    return table
