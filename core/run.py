"""Runs a plan: takes from the store what is kept, makes the rest, and tells the reporters."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import pluggy
from safetensors import SafetensorError

from core import share
from core.errors import DoesNotFitError, LuthierError, StageError
from core.exchange import Made, Work
from core.material import folder_digest
from core.measure import peak_memory
from core.plan import Plan
from core.progress import Progress
from core.record import StageRecord
from core.steps import Inputs, Step
from core.store import Store
from core.values import Artifact

__all__ = ["Outcome", "execute"]


@dataclass(frozen=True)
class Outcome:
    """What every step made, by its name, with the record of each."""

    artifacts: dict[str, Artifact]
    records: Sequence[StageRecord]

    @property
    def shipped(self) -> Artifact:
        """Return what goes to the device."""
        return self.artifacts.get("runtime") or self.played

    @property
    def played(self) -> Artifact:
        """Return what was played whole."""
        return self.artifacts[str(self.artifacts["play"].facts["source"])]


def execute(plan: Plan, store: Store, hook: pluggy.HookRelay) -> Outcome:
    """Run every step of `plan`; raises StageError when one fails, with nothing of it kept."""
    made: dict[str, Artifact] = {}
    records: list[StageRecord] = []
    for planned in plan.steps:
        step = planned.step
        started = time.perf_counter()
        # The plan has read and verified what is kept; reading it again would hash it twice.
        ran, artifact = False, planned.artifact
        if artifact is None:
            artifact, ran = _step(step, made, store, hook)
        made[step.name] = artifact
        record = StageRecord(
            step.name,
            step.title,
            step.plugin,
            "ran" if ran else "kept",
            time.perf_counter() - started,
            artifact,
            step.options,
        )
        records.append(record)
        hook.luthier_stage_finished(record=record)
    return Outcome(made, records)


def _step(step: Step, made: Inputs, store: Store, hook: pluggy.HookRelay) -> tuple[Artifact, bool]:
    """Return the step's artifact, and whether it had to be made."""
    material = step.material(made)
    kept = store.find(step.name, material)
    if kept is not None:
        return kept, False

    def tell(done: float, total: float, message: str) -> None:
        hook.luthier_stage_progress(stage=step.name, done=done, total=total, message=message)

    def going(done: float, total: float, message: str) -> None:
        share.give_way(waits)
        tell(done, total, message)

    def waits(why: str) -> None:
        tell(0, 0, why)

    hook.luthier_stage_started(stage=step.name, title=step.title)
    with (
        store.lock(step.name, material, lambda: waits("another run is making this; waiting")),
        store.staging() as folder,
        share.held(waits),
    ):
        kept = store.find(step.name, material)
        if kept is not None:
            return kept, False
        started, when = time.perf_counter(), datetime.now(UTC)
        try:
            with peak_memory() as peak:
                result = _run(step, made, Work(folder, Progress(going), store.lasting))
        except DoesNotFitError as error:
            error.seconds, error.peak_memory_mb = time.perf_counter() - started, peak.mb
            raise
        artifact = replace(
            _artifact(step, made, result, folder.as_posix()),
            made_at=when.isoformat(timespec="seconds"),
            made_in_s=time.perf_counter() - started,
            peak_memory_mb=peak.mb,
        )
        return store.keep(step.name, material, artifact, answers=result.keep), True


def _run(step: Step, made: Inputs, work: Work) -> Made:
    try:
        return step.run(made, work)
    except LuthierError:
        raise
    except SafetensorError as error:
        # It wraps the system's error, a full disk most often, in words of its own.
        raise StageError(
            f"stage `{step.name}` could not write: {error}",
            f"at: {work.folder}",
            "free some room, or choose another place: store=/path/to/folder",
        ) from error
    except MemoryError as error:
        raise StageError(
            f"stage `{step.name}` ran out of memory",
            f"by: {step.plugin}",
            "choose a shorter window, or close other programs",
        ) from error
    except OSError as error:
        raise StageError(
            f"stage `{step.name}` could not read or write: {error.strerror or error}",
            f"by: {step.plugin}",
            f"at: {error.filename}" if error.filename else "",
            "free some room, or choose another place: store=/path/to/folder",
        ) from error
    except Exception as error:
        raise StageError(
            f"stage `{step.name}` failed: {type(error).__name__}: {error}",
            f"by: {step.plugin}",
            "see the whole trace: hydra.verbose=true",
        ) from error


def _artifact(step: Step, made: Inputs, result: Made, folder: str) -> Artifact:
    """Describe what a stage made; the model's own words travel on with every artifact."""
    path = result.path
    if path.parent.as_posix() != folder or not path.is_file():
        raise StageError(
            f"stage `{step.name}` says that it made `{path}`, which is no file of its folder",
            f"by: {step.plugin}",
        )
    origin: Any = next((made[n] for n in step.inputs if n in made), None)
    files = [p for p in path.parent.rglob("*") if p.is_file()]
    return Artifact(
        folder=folder,
        path=str(path),
        format=result.format,
        precision=result.precision,
        sha256=folder_digest(path.parent),
        bytes=sum(p.stat().st_size for p in files),
        steps=(*(origin.steps if origin else ()), step.name),
        model=result.model or (origin.model if origin else None),
        facts=result.facts,
        notices=result.notices,
        settled=result.settled,
    )
