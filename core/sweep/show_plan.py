"""`mode=plan` of a sweep: what would run, what is shared or in the store, and the cost."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from core.config.touched import touched
from core.plan.show import show_touched
from core.sweep.plan import Shared, SweepPlan
from core.sweep.windows import compares
from core.text.screen import columns, screen

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["cost", "show"]

#: What is said of a sweep over windows.
COMPARED = (
    "windows differ: FP32 PyTorch plays with each of them first, and all points are compared with "
    "the best of these results"
)

HEADINGS = ("step", "requested", "distinct", "cached", "would run", "about")
#: The columns that a narrow terminal has no room for, the first to go first.
SPARED = ("requested", "distinct", "cached")
GAP = 2
MINUTE = 60.0


def show(plan: SweepPlan, store: str, output: str) -> None:
    """Print the steps of all points by name, the refused points, and the cost.

    Then print what the points would touch, the store at `store` and the folder `output` included.
    """
    console = screen()
    console.print(Text.assemble(("sweep", "bold"), f" of {len(plan.points)} points\n"))
    _steps(plan.shared, console)
    console.print()
    for planned in plan.points:
        if planned.refused is not None:
            values = " ".join(f"{k}={v}" for k, v in planned.point.values.items())
            console.print(f"refused: {values}: {planned.refused.what}", soft_wrap=True)
    every = (one.pipeline.plugins for point in plan.points for one in point.plans)
    show_touched(touched(itertools.chain.from_iterable(every), store, output))
    console.print()
    console.print(sentence(plan), soft_wrap=True)
    if compares(plan.points):
        console.print(COMPARED, soft_wrap=True)
    console.print("nothing was executed")


def _steps(shared: Sequence[Shared], console: Console) -> None:
    """Print a row per name of a step, with as many columns as there is room for."""
    table: dict[str, list[str]] = {heading: [] for heading in HEADINGS}
    for name in dict.fromkeys(one.name for one in shared):
        work = [one for one in shared if one.name == name]
        runs = [one for one in work if not one.cached]
        asked = sum(len(one.points) for one in work)
        numbers = (asked, len(work), len(work) - len(runs), len(runs))
        row = (name, *map(str, numbers), cost(runs) if runs else "")
        for heading, cell in zip(HEADINGS, row, strict=True):
            table[heading].append(cell)
    room = columns(console)
    for heading in SPARED:
        if room is not None and _width(table) > room:
            del table[heading]
    shown = Table(box=None, padding=(0, GAP, 0, 0), header_style="bold", pad_edge=False)
    for heading in table:
        shown.add_column(heading, justify="left" if heading == "step" else "right",
                         no_wrap=heading != "about")  # fmt: skip
    for cells in zip(*table.values(), strict=True):
        shown.add_row(*cells)
    (console if room is not None else screen(width=_width(table))).print(shown)


def _width(table: Mapping[str, Sequence[str]]) -> int:
    """Return the columns that a table takes."""
    return sum(max(map(len, (heading, *cells))) + GAP for heading, cells in table.items())


def sentence(plan: SweepPlan) -> str:
    """Return the totals of a sweep: its steps, those that are spared, and how long it takes."""
    asked = sum(len(shared.points) for shared in plan.shared)
    runs = [shared for shared in plan.shared if not shared.cached]
    refused = sum(planned.refused is not None for planned in plan.points)
    parts = [f"{len(plan.points)} points"]
    parts += [f"{refused} of them refused"] if refused else []
    parts += [f"{asked} steps, {asked - len(plan.shared)} of them shared"]
    cached = len(plan.shared) - len(runs)
    parts += [f"{cached} in the store"] if cached else []
    parts += [f"{len(runs)} to run" + (f", {cost(runs)}" if runs else "")]
    return "; ".join(parts)


def cost(runs: Sequence[Shared]) -> str:
    """Return how long work would take, from how long it took before."""
    known = [shared.seconds for shared in runs if shared.seconds is not None]
    unknown = len(runs) - len(known)
    if not known:
        return "time unknown"
    said = _spoken(sum(known))
    return f"{said} and {unknown} never timed" if unknown else said


def _spoken(seconds: float) -> str:
    return f"{seconds / MINUTE:.0f} min" if seconds >= 2 * MINUTE else f"{seconds:.0f} s"
