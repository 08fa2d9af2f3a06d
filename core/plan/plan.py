"""The plan: every step with its input, output, options and cache state; nothing is executed."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from core.config.pipeline import Pipeline
from core.inference.context import RunContext
from core.inference.signature import check_windows
from core.plan.check import check
from core.plugin.records import PlanRecord
from core.plugin.registry import Registry
from core.plugin.step_names import PRECISION_CENSUS, RUNTIME
from core.plugin.values import Artifact
from core.steps import convert
from core.steps.layout import lay_out
from core.steps.step import Step
from core.store.local import Store

__all__ = ["Plan", "Planned", "looked_up", "make_plan", "make_plan_to_play"]


@dataclass(frozen=True)
class Planned:
    """One step with its artifact from the store, or `why` it would run."""

    step: Step
    artifact: Artifact | None
    why: str

    @property
    def cached(self) -> bool:
        """Return whether the store has the result."""
        return self.artifact is not None


@dataclass(frozen=True)
class Plan:
    """What a run is going to do."""

    pipeline: Pipeline
    context: RunContext
    steps: Sequence[Planned]

    def only_made(self, *, compiled: bool) -> Plan:
        """Return the part of the plan that makes the artifact and counts what is in it."""
        steps = [
            p
            for p in self.steps
            if (p.step.gives is not None and (compiled or p.step.name != RUNTIME))
            or p.step.name == PRECISION_CENSUS
        ]
        return replace(self, steps=steps)

    def with_files_of(self, name: str, store: Store) -> Plan:
        """Return the plan that makes the result of a step again if its files were removed."""
        return looked_up(self.context, [one.step for one in self.steps], store, [name])

    def before(self, name: str) -> Plan:
        """Return the part of the plan that comes before a step."""
        names = [planned.step.name for planned in self.steps]
        return replace(self, steps=self.steps[: names.index(name)])

    @property
    def record(self) -> PlanRecord:
        """Return the record of the plan, for reporters."""
        pipeline, names = self.pipeline, tuple(planned.step.name for planned in self.steps)
        return PlanRecord(
            pipeline.recipe,
            pipeline.title,
            pipeline.target,
            pipeline.precision,
            names,
            self.to_run,
        )

    @property
    def to_run(self) -> int:
        """Return how many steps would run."""
        return sum(not planned.cached for planned in self.steps)


def make_plan(
    pipeline: Pipeline, registry: Registry, store: Store, needed: Collection[str] = ()
) -> Plan:
    """Prove that the recipe's stages fit, and look every step up in the store.

    The results of the steps in `needed` must have their files.
    """
    check(pipeline, registry)
    context = RunContext(pipeline)
    plan = looked_up(context, lay_out(context), store, needed)
    if plan.steps[0].artifact is not None:
        check_windows(pipeline, plan.steps[0].artifact.info)
    return plan


def make_plan_to_play(pipeline: Pipeline, registry: Registry, store: Store) -> tuple[Plan, str]:
    """Return the plan of the steps that make what this machine plays, and the last one's name.

    Nothing is played or measured, and what is compiled for a device that plays nothing here is left
    out.
    """
    check(pipeline, registry, measured=False)
    context = RunContext(pipeline)
    steps = convert.conversion(context)
    source = convert.source(context, steps)
    needed = steps[: [step.name for step in steps].index(source) + 1]
    return looked_up(context, needed, store), source


def looked_up(
    context: RunContext, steps: Sequence[Step], store: Store, needed: Collection[str] = ()
) -> Plan:
    """Return a plan of `steps`, with what the store has of them.

    A result whose files were removed to make room counts, unless its step is in `needed`, or a step
    that would run reads them.
    """
    again = set(needed)
    while True:
        planned = _looked_up(steps, store, again)
        gone = {one.step.name for one in planned if one.artifact and not _has_files(one.artifact)}
        read = gone & {name for one in planned if not one.cached for name in one.step.inputs}
        if not read:
            return Plan(context.pipeline, context, planned)
        again |= read


def _looked_up(steps: Sequence[Step], store: Store, again: set[str]) -> list[Planned]:
    """Look steps up; those in `again` must have their files."""
    known: dict[str, Artifact] = {}
    planned = []
    for step in steps:
        unknown = [name for name in step.inputs if name not in known]
        if unknown:
            planned.append(Planned(step, None, f"after {unknown[0]}"))
            continue
        fingerprint = step.fingerprint(known)
        artifact = store.find(step.entry, fingerprint, emptied=step.name not in again)
        if artifact is not None:
            known[step.name] = artifact
        why = "" if artifact is not None else store.why_absent(step.entry, fingerprint)
        planned.append(Planned(step, artifact, why))
    return planned


def _has_files(artifact: Artifact) -> bool:
    return Path(artifact.folder).is_dir()
