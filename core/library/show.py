"""`mode=plan` for a library: the steps that make what plays, and how many songs are done."""

from __future__ import annotations

from rich.console import Console

from core.library.manifest import Manifest, is_done
from core.library.plan import LibraryPlan
from core.rungs import Candidate
from core.show_plan import show as show_steps

__all__ = ["show"]


def show(plan: LibraryPlan) -> None:
    """Print the steps, then where the songs would go and what is left to play; plays nothing."""
    steps = plan.steps
    show_steps(Candidate(steps.assembly.precision, plan.cfg, steps))
    console = Console(highlight=False)
    sources = list(plan.dataset.sources())
    made = {planned.step.name: planned.artifact for planned in steps.steps}
    kept = {name: artifact for name, artifact in made.items() if artifact is not None}
    if len(kept) < len(made):
        console.print(f"{len(sources)} songs; which are done is known once the steps have run")
        return
    folder = plan.folder(kept)
    entries = Manifest(folder / "manifest.jsonl").entries
    done = sum(is_done(entries.get(source.name), source.file, folder) for source in sources)
    console.print(f"{len(sources)} songs, {done} done; scale={plan.scale.name}")
    console.print(f"songs   {folder}", markup=False, soft_wrap=True)
