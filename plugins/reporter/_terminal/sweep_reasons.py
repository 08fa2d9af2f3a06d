"""Why points have no figures, or broke the contract: each reason once, with its points."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from rich.text import Text

from plugins.reporter._terminal.sweep_points import STYLES

if TYPE_CHECKING:
    from core.plugin.records import SweepRecord

__all__ = ["reasons"]

#: The part of a reason that fits a line of the terminal; the files have it whole.
LENGTH, REASONS, NUMBERS = 150, 12, 8


def reasons(record: SweepRecord) -> Iterator[Text]:
    """Yield a line per status and reason: `refused  3, 7  no room for 176400 samples`."""
    found: dict[tuple[str, str], list[int]] = {}
    for point in record.points:
        if point.status != "done" and point.why:
            # The rest of a message says where and what to do next: it is in the files.
            why = " ".join(point.why.split("\n", 1)[0].split())
            found.setdefault((point.status, why), []).append(point.number)
    for (status, why), numbers in list(found.items())[:REASONS]:
        named = ", ".join(map(str, numbers[:NUMBERS]))
        more = f" and {len(numbers) - NUMBERS} more" if len(numbers) > NUMBERS else ""
        short = why if len(why) <= LENGTH else f"{why[: LENGTH - 1]}…"
        yield Text.assemble((f"{status:<8}", STYLES[status]), f"{named}{more}: {short}")
    if len(found) > REASONS:
        yield Text(f"{len(found) - REASONS} more reasons are in the files below", style="dim")
