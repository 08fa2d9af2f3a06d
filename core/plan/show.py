"""`mode=plan`: the steps of a recipe as a table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from core.inference.items import passed_over
from core.plan.advice import advice
from core.plan.candidates import Candidate
from core.plan.plan import Planned
from core.plugin.reach import Reach
from core.plugin.records import compiled_only
from core.plugin.step_names import RUNTIME
from core.text.screen import columns, screen

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["show", "show_touched"]

HEADINGS = ("step", "by", "takes → gives", "state", "why")
CACHED, GAP = "cached", 2
#: The least that the reasons need beside the other columns; with less, a step takes two lines.
ROOM = 30


def show(candidate: Candidate) -> None:
    """Print every step with what it takes and gives, its options, and why it would run."""
    console, plan = screen(), candidate.plan
    if plan is None:
        why = candidate.misfit.what if candidate.misfit else ""
        console.print(f"{candidate.precision}: left out, {why}\n", soft_wrap=True)
        return
    pipeline = plan.pipeline
    whole = columns(console) is None
    title = Text.assemble((pipeline.recipe, "bold"), f"  {pipeline.title}")
    console.print(title, soft_wrap=whole)
    if pipeline.target.name:
        about = f"target {pipeline.target.title}, precision {pipeline.precision}"
        console.print(about, soft_wrap=whole)
    console.print()
    _steps([_row(planned) for planned in plan.steps], console, whole=whole)
    for planned in plan.steps:
        if planned.step.options:
            options = ", ".join(f"{k}={v}" for k, v in planned.step.options.items())
            console.print(f"{planned.step.name}: {options}", style="dim", soft_wrap=whole)
    if pipeline.never_run and any(planned.step.name == RUNTIME for planned in plan.steps):
        said = f"warning: {RUNTIME}: {compiled_only(pipeline.never_run)}"
        console.print(said, style="yellow", soft_wrap=True)
    for notice in (*advice(pipeline), *passed_over(pipeline)):
        console.print(f"{notice.severity}: {notice.text}", style="yellow", soft_wrap=True)
    console.print(f"\n{plan.to_run} of {len(plan.steps)} steps would run; nothing was executed")


def _steps(rows: Sequence[tuple[str, ...]], console: Console, *, whole: bool) -> None:
    """Print a line per step; two where the columns leave the reasons no room."""
    *widths, _ = (max(map(len, column)) for column in zip(HEADINGS, *rows, strict=True))
    if whole:
        for row in (HEADINGS, *rows):
            cells = [f"{cell:<{width + GAP}}" for cell, width in zip(row, widths, strict=False)]
            console.print(Text("".join((*cells, row[-1])).rstrip()), soft_wrap=True)
        return
    table = Table(box=None, padding=(0, GAP, 0, 0), header_style="bold", pad_edge=False)
    if sum(widths) + GAP * len(HEADINGS) + ROOM <= console.width:
        for heading in HEADINGS:
            table.add_column(heading, overflow="fold", no_wrap=heading != HEADINGS[-1])
        for step, by, formats, state, why in rows:
            table.add_row(step, by, formats, _coloured(state), why)
    else:
        table.show_header = False
        table.add_column(no_wrap=True)
        table.add_column(overflow="fold")
        names, by_whom, _, states = widths
        aligned = names if states + names + by_whom + 3 * GAP <= console.width else 0
        for step, by, formats, state, why in rows:
            first = Text.assemble((f"{step:<{aligned}}", "bold"), f"  {by}")
            second = ", ".join(filter(None, (formats, why)))
            table.add_row(_coloured(state), Text("\n").join(filter(None, (first, Text(second)))))
    console.print(table)


def _coloured(state: str) -> Text:
    return Text(state, "green" if state == CACHED else "yellow")


def _row(planned: Planned) -> tuple[str, ...]:
    step = planned.step
    takes = f"{step.takes.format} {step.takes.precision} → " if step.takes else ""
    gives = f"{step.gives.format} {step.gives.precision}" if step.gives else ""
    state = CACHED if planned.cached else "would run"
    return step.name, step.plugin, takes + gives, state, planned.why


def show_touched(reaches: Sequence[Reach]) -> None:
    """Print every file, folder and host that a run would touch; paths can be copied."""
    console = screen()
    console.print("\nwould touch, besides the installed files", style="bold")
    for reach in reaches:
        why = f"  ({reach.why})" if reach.why else ""
        console.print(f"  {reach.how:<7}{reach.where}{why}", soft_wrap=True)
