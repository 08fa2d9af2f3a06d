"""`mode=plan` for a batch: the steps that make the artifact to play, and the state of the items."""

from __future__ import annotations

import os
from collections import Counter

from core.batch.folder import MANIFEST, check_own
from core.batch.manifest import Manifest
from core.batch.plan import BatchPlan
from core.batch.standings import standings
from core.config.settings import Scale
from core.config.touched import touched
from core.plan.candidates import Candidate
from core.plan.show import show as show_steps
from core.plan.show import show_touched
from core.plugin.reach import Reach
from core.plugin.records import passed_over
from core.text.screen import screen

__all__ = ["show"]


def show(plan: BatchPlan, store: str) -> None:
    """Print the steps, how many items are done, and the folder of the items; play nothing."""
    steps = plan.steps
    reaches = touched(steps.pipeline.plugins, store, plan.cfg.output)
    if plan.scale is Scale.ray:
        cluster = (
            plan.settings.address or os.environ.get("RAY_ADDRESS") or "a cluster of this machine"
        )
        reaches.append(Reach("asks", cluster, "Ray"))
    show_steps(Candidate(steps.pipeline.precision, plan.cfg, steps))
    show_touched(reaches)
    console = screen()
    if plan.host_plays:
        console.print(f"warning: {plan.host_plays}", style="yellow", soft_wrap=True)
    sources = list(plan.dataset.sources())
    made = {planned.step.name: planned.artifact for planned in steps.steps}
    known = {name: artifact for name, artifact in made.items() if artifact is not None}
    if len(known) < len(made):
        console.print(f"{len(sources)} items; the finished ones are known after the steps have run")
        return
    folder = plan.folder(known)
    check_own(folder)
    manifest = Manifest(folder / MANIFEST)
    states = Counter(standing.state for standing in standings(sources, manifest))
    damaged = f", {states['damaged']} damaged" if states["damaged"] else ""
    console.print(f"{len(sources)} items, {states['done']} done{damaged}; scale={plan.scale.name}")
    if manifest.damaged:
        console.print(passed_over(manifest.damaged))
    console.print(f"items   {folder}", soft_wrap=True)
