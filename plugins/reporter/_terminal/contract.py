"""The contract and the precisions that were tried, for a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from core.measure.contract import story, verdict
from plugins.reporter._reading import megabytes, nearness

if TYPE_CHECKING:
    from rich.console import RenderableType

    from core.plugin.records import CandidateRecord, RunRecord

__all__ = ["promises", "tried"]

WORDS = {
    "held": ("held", "green"),
    "missed": ("BROKEN", "bold red"),
    "not judged": ("not judged", "yellow"),
}
STYLES = {"held": "green", "missed": "red", "refused": "yellow", "not tried": "dim"}
#: Below the first number of columns only the report has the reasons; below the second, the numbers.
WIDE, NARROW = 76, 50


def promises(record: RunRecord, width: int) -> Iterator[RenderableType]:
    """Yield a line per limit, a table of the precisions that were tried, and why one was taken."""
    for one in record.contract:
        word, style = WORDS[verdict(one)]
        yield Text.assemble((f"{word}  ", style), story(one))
    if record.contract:
        yield Text()
    if record.candidates:
        yield _precisions(record.candidates, width)
    if record.chosen:
        yield Text(f"{record.chosen}.", style="bold")
        yield Text()


def tried(candidates: Sequence[CandidateRecord], width: int) -> Iterator[RenderableType]:
    """Yield the table of the precisions that were tried, and every reason: no report has them."""
    yield _precisions(candidates, width)
    if width < WIDE:
        for result in candidates:
            if result.why:
                yield Text(f"{result.precision}: {result.why}")


def _precisions(candidates: Sequence[CandidateRecord], width: int) -> Table:
    """Return a row per precision: whether the contract held there, its SNR, its size, and why."""
    table = Table(title="Precisions", title_justify="left", title_style="bold", box=None,
                  padding=(0, 2, 0, 0), header_style="dim")  # fmt: skip
    table.add_column("precision", overflow="fold")
    table.add_column("contract", overflow="fold")
    if width >= NARROW:
        table.add_column("SNR", justify="right", no_wrap=True)
        table.add_column("size", justify="right", no_wrap=True)
    if width >= WIDE:
        table.add_column("what decided", overflow="fold")
    for result in candidates:
        row: list[RenderableType] = [
            Text(result.precision),
            Text(result.status, STYLES[result.status]),
            "-" if result.snr_db is None else nearness(result.snr_db, result.contract),
            megabytes(result.bytes) if result.bytes is not None else "-",
            Text(result.why or result.ranked_by),
        ]
        table.add_row(*row[: len(table.columns)])
    return table
