"""`mode=plan` of a sweep: what would run, what is shared or in the store, and the cost."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from rich.table import Table
from rich.text import Text

from core.config.touched import touched
from core.plan.show import show_touched
from core.sweep.plan import Shared, SweepPlan
from core.sweep.windows import compares
from core.text.screen import screen

__all__ = ["cost", "show"]

#: What is said of a sweep over windows.
COMPARED = (
    "windows differ: FP32 PyTorch plays with each of them first, and all points are compared with "
    "the best of these results"
)

MINUTE = 60.0


def show(plan: SweepPlan, store: str, output: str) -> None:
    """Print the steps of all points by name, the refused points, and the cost.

    Then print what the points would touch, the store at `store` and the folder `output` included.
    """
    console = screen()
    console.print(Text.assemble(("sweep", "bold"), f" of {len(plan.points)} points\n"))
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    for heading in ("step", "requested", "distinct", "cached", "would run", "about"):
        table.add_column(heading, justify="left" if heading == "step" else "right")
    names = list(dict.fromkeys(shared.name for shared in plan.shared))
    for name in names:
        work = [shared for shared in plan.shared if shared.name == name]
        runs = [shared for shared in work if not shared.cached]
        table.add_row(
            name,
            str(sum(len(shared.points) for shared in work)),
            str(len(work)),
            str(len(work) - len(runs)),
            str(len(runs)),
            cost(runs) if runs else "",
        )
    console.print(table)
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
