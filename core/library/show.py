"""`mode=plan` for a library: the steps that make what plays, and how many songs are done."""

from __future__ import annotations

import os
from collections import Counter

from core.config import Scale
from core.library.done import standings
from core.library.house import MANIFEST, check_own
from core.library.manifest import Manifest
from core.library.plan import LibraryPlan
from core.library.record import passed_over
from core.reach import Reach
from core.rungs import Candidate
from core.screen import screen
from core.show_plan import show as show_steps
from core.show_plan import show_touched
from core.touched import touched

__all__ = ["show"]


def show(plan: LibraryPlan, store: str) -> None:
    """Print the steps, then where the songs would go and what is left to play; plays nothing."""
    steps = plan.steps
    reaches = touched([steps.assembly], store, plan.cfg.output)
    if plan.scale is Scale.ray:
        cluster = plan.songs.address or os.environ.get("RAY_ADDRESS") or "a cluster of this machine"
        reaches.append(Reach("asks", cluster, "Ray"))
    show_steps(Candidate(steps.assembly.precision, plan.cfg, steps))
    show_touched(reaches)
    console = screen()
    sources = list(plan.dataset.sources())
    made = {planned.step.name: planned.artifact for planned in steps.steps}
    kept = {name: artifact for name, artifact in made.items() if artifact is not None}
    if len(kept) < len(made):
        console.print(f"{len(sources)} songs; which are done is known once the steps have run")
        return
    folder = plan.folder(kept)
    check_own(folder)
    manifest = Manifest(folder / MANIFEST)
    states = Counter(standing.state for standing in standings(sources, manifest))
    damaged = f", {states['damaged']} damaged" if states["damaged"] else ""
    console.print(f"{len(sources)} songs, {states['done']} done{damaged}; scale={plan.scale.name}")
    if manifest.damaged:
        console.print(passed_over(manifest.damaged))
    console.print(f"songs   {folder}", soft_wrap=True)
