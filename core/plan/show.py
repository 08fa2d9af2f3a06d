"""`mode=plan`: the steps of a recipe as a table."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table
from rich.text import Text

from core.inference.items import passed_over
from core.plan.advice import advice
from core.plan.candidates import Candidate
from core.plan.plan import Planned
from core.plugin.reach import Reach
from core.plugin.records import compiled_only
from core.plugin.step_names import RUNTIME
from core.text.screen import screen

__all__ = ["show", "show_touched"]


def show(candidate: Candidate) -> None:
    """Print every step with what it takes and gives, its options, and why it would run."""
    console, plan = screen(), candidate.plan
    if plan is None:
        why = candidate.misfit.what if candidate.misfit else ""
        console.print(f"{candidate.precision}: left out, {why}\n", soft_wrap=True)
        return
    pipeline = plan.pipeline
    console.print(Text.assemble((pipeline.recipe, "bold"), f"  {pipeline.title}"))
    if pipeline.target.name:
        console.print(f"target {pipeline.target.title}, precision {pipeline.precision}")
    console.print()
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    for heading in ("step", "by", "takes → gives", "state", "why"):
        table.add_column(heading, overflow="fold")
    for planned in plan.steps:
        table.add_row(*_row(planned))
    console.print(table)
    for planned in plan.steps:
        if planned.step.options:
            options = ", ".join(f"{k}={v}" for k, v in planned.step.options.items())
            console.print(f"{planned.step.name}: {options}", style="dim", soft_wrap=True)
    if pipeline.never_run and any(planned.step.name == RUNTIME for planned in plan.steps):
        said = f"warning: {RUNTIME}: {compiled_only(pipeline.never_run)}"
        console.print(said, style="yellow", soft_wrap=True)
    for notice in (*advice(pipeline), *passed_over(pipeline)):
        console.print(f"{notice.severity}: {notice.text}", style="yellow", soft_wrap=True)
    console.print(f"\n{plan.to_run} of {len(plan.steps)} steps would run; nothing was executed")


def _row(planned: Planned) -> tuple[str, str, str, Text, str]:
    step = planned.step
    takes = f"{step.takes.format} {step.takes.precision} → " if step.takes else ""
    gives = f"{step.gives.format} {step.gives.precision}" if step.gives else ""
    state = Text("cached", "green") if planned.cached else Text("would run", "yellow")
    return step.name, step.plugin, takes + gives, state, planned.why


def show_touched(reaches: Sequence[Reach]) -> None:
    """Print every file, folder and host that a run would touch; paths can be copied."""
    console = screen()
    console.print("\nwould touch, besides the installed files", style="bold")
    for reach in reaches:
        why = f"  ({reach.why})" if reach.why else ""
        console.print(f"  {reach.how:<7}{reach.where}{why}", soft_wrap=True)
