"""Runs a plan: takes kept artifacts from the store, makes the rest, and informs the reporters."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pluggy

from core.errors import DoesNotFitError, InputError, LuthierError, PluginError, UnsafePathError
from core.machine import cores
from core.machine.folders import check_there
from core.machine.memory import peak_memory
from core.plan.plan import Plan
from core.plugin import annotation_checks
from core.plugin.origin import failure, origin_of
from core.plugin.progress import Progress
from core.plugin.records import StageRecord
from core.plugin.stages import StageContext, StageResult
from core.plugin.step_names import PLAY, RUNTIME
from core.plugin.values import Artifact
from core.run.full_disk import full_disk
from core.steps.step import Inputs, Step
from core.store.hashing import files_below, folder_digest, verified_digest
from core.store.local import Store

__all__ = ["Outcome", "execute", "step_result"]


@dataclass(frozen=True)
class Outcome:
    """What every step made, by its name, with the record of each."""

    artifacts: dict[str, Artifact]
    records: Sequence[StageRecord]

    @property
    def shipped(self) -> Artifact:
        """Return what goes to the device."""
        return self.artifacts.get(RUNTIME) or self.played

    @property
    def played(self) -> Artifact:
        """Return what was played whole."""
        return self.artifacts[str(self.artifacts[PLAY].facts["source"])]


def execute(plan: Plan, store: Store, hook: pluggy.HookRelay) -> Outcome:
    """Run every step of `plan`; raises a LuthierError when one fails, and keeps nothing of it.

    A step fails, too, if a plugin broke its contract, or if an input changed after it was planned.
    """
    store.clean_up()
    made: dict[str, Artifact] = {}
    records: list[StageRecord] = []
    for planned in plan.steps:
        step = planned.step
        started = time.perf_counter()
        # The plan has read and verified kept artifacts; reading them again would hash them twice.
        ran, artifact = False, planned.artifact
        if artifact is None:
            artifact, ran = step_result(step, made, store, hook)
        made[step.name] = artifact
        record = StageRecord(
            step.name,
            step.title,
            step.plugin,
            "ran" if ran else "cached",
            time.perf_counter() - started,
            artifact,
            step.options,
        )
        records.append(record)
        hook.luthier_stage_finished(record=record)
    return Outcome(made, records)


def step_result(
    step: Step, made: Inputs, store: Store, hook: pluggy.HookRelay
) -> tuple[Artifact, bool]:
    """Return the step's artifact, from the store or made now, and whether it had to be made."""
    fingerprint = step.fingerprint(made)
    cached = store.find(step.entry, fingerprint)
    if cached is not None:
        return cached, False

    def tell(done: float, total: float, message: str) -> None:
        hook.luthier_stage_progress(stage=step.name, done=done, total=total, message=message)

    def going(done: float, total: float, message: str) -> None:
        cores.yield_to_exclusive(waits)
        tell(done, total, message)

    def waits(why: str) -> None:
        tell(0, 0, why)

    hook.luthier_stage_started(stage=step.name, title=step.title)
    with (
        store.lock(step.entry, fingerprint, lambda: waits("another run is making this; waiting")),
        store.staging() as folder,
        cores.shared(waits),
    ):
        cached = store.find(step.entry, fingerprint)
        if cached is not None:
            return cached, False
        started, when = time.perf_counter(), datetime.now(UTC)
        try:
            with peak_memory() as peak:
                work = StageContext(folder, Progress(going), store.state_dir)
                result = _run(step, made, work, store.root)
        except BaseException as error:
            if isinstance(error, Exception):
                _check_place(folder, store)
            if isinstance(error, DoesNotFitError):
                error.seconds, error.peak_memory_mb = time.perf_counter() - started, peak.mb
            # The step may have spoiled its inputs before it failed.
            for name in _spoiled(step, made):
                store.drop(made[name])
            raise
        _check_place(folder, store)
        _check_inputs(step, made, store)
        artifact = replace(
            _artifact(step, made, result, folder),
            made_at=when.isoformat(timespec="seconds"),
            made_in_s=time.perf_counter() - started,
            peak_memory_mb=peak.mb,
        )
        return store.keep(step.entry, fingerprint, artifact, answers=result.keep), True


def _run(step: Step, made: Inputs, work: StageContext, root: Path) -> StageResult:
    try:
        return step.run(made, work)
    except Exception as error:
        full = full_disk(error, step.name, work.folder, root)
        if full is not None:
            raise full from error
        if isinstance(error, LuthierError):
            raise
        # An error of a plugin is a LuthierError by now (core/plugin/boundary.py): this one comes
        # from the core.
        raise failure(error, f"stage `{step.name}`", *_by(step)) from error


def _check_place(folder: Path, store: Store) -> None:
    """Raise StoreError where the store was removed under a step: no plugin is to blame for it."""
    try:
        check_there(folder.parent)
    except FileNotFoundError as error:
        raise store.unwritable(error) from error


def _by(step: Step) -> list[str]:
    """Return the lines that say whose plugins do a step."""
    lines = [f"by: {step.plugin}"]
    for plugin in step.by:
        lines += origin_of(plugin).lines
    return lines


def _spoiled(step: Step, made: Inputs) -> list[str]:
    """Return the inputs of a step whose files have changed since they were kept."""

    def whole(artifact: Artifact) -> bool:
        try:
            return verified_digest(Path(artifact.folder)) == artifact.sha256
        except OSError:
            return False

    return [name for name in step.inputs if name in made and not whole(made[name])]


def _check_inputs(step: Step, made: Inputs, store: Store) -> None:
    """Raise, and keep nothing, if an input of a step is not what its fingerprint says.

    PluginError for an artifact that was written to, which is dropped; InputError for a user's file
    that changed after the plan had read it.
    """
    spoiled = _spoiled(step, made)
    for name in spoiled:
        store.drop(made[name])
    if spoiled:
        raise PluginError(
            f"stage `{step.name}` wrote to its input `{spoiled[0]}`, which belongs to the store",
            *_by(step),
            f"at: {made[spoiled[0]].folder}",
            "the changed input and the stage's result are not kept: the next run makes both again",
            "a plugin writes to `work.folder` only; `work.copy(artifact)` brings its input there",
        )
    for read in step.reads:
        changed = read.changed()
        if changed:
            raise InputError(
                f"{changed} changed while it was read",
                f"stage: {step.name}",
                f"by: {origin_of(read.plugin)}",
                "the result is not kept; run the same command again",
            )


def _artifact(step: Step, made: Inputs, result: StageResult, folder: Path) -> Artifact:
    """Describe what a stage made; every artifact hands on the `ModelInfo` of the model."""
    files = _files(step, result, folder)
    origin: Any = next((made[n] for n in step.inputs if n in made), None)
    return Artifact(
        folder=folder.as_posix(),
        path=str(result.path),
        format=result.format,
        precision=result.precision,
        sha256=folder_digest(folder),
        bytes=sum(p.stat().st_size for p in files),
        steps=(*(origin.steps if origin else ()), step.name),
        model=result.model or (origin.model if origin else None),
        facts=result.facts,
        notices=result.notices,
        chosen_options=result.chosen_options,
    )


def _files(step: Step, result: StageResult, folder: Path) -> list[Path]:
    """Return the files of a result; raises PluginError for one that cannot be kept as it is."""
    wrong = annotation_checks.check_of(StageResult)(result) or annotation_checks.json_problem(
        result.chosen_options
    )
    if wrong:
        raise PluginError(
            f"stage `{step.name}` made a result that cannot be kept: {wrong}", *_by(step)
        )
    if step.gives is not None and (result.format, result.precision) != (
        step.gives.format,
        step.gives.precision,
    ):
        raise PluginError(
            f"stage `{step.name}` made {result.format} in {result.precision}, "
            f"but its plan said {step.gives.format} in {step.gives.precision}",
            *_by(step),
            "`plan` and the `StageResult` of a plugin must name the same format and precision",
        )
    try:
        files = files_below(folder)
        links = [file for file in files if file.stat().st_nlink > 1]
    except OSError as error:
        raise PluginError(
            f"stage `{step.name}` made {error.strerror}", *_by(step), f"at: {error.filename}"
        ) from error
    if links:
        raise PluginError(
            f"stage `{step.name}` made a hard link to a file that may lie outside its folder",
            *_by(step),
            f"at: {links[0]}",
            "copy the file instead",
        )
    if result.path.parent != folder or result.path not in files:
        raise PluginError(
            f"stage `{step.name}` says that it made `{result.path}`, which is not a file "
            "in its folder",
            *_by(step),
        )
    for file in files:
        wrong = annotation_checks.check_of(str)(file.relative_to(folder).as_posix())
        if wrong:
            raise PluginError(f"stage `{step.name}` made a file whose name {wrong}", *_by(step))
    if result.path.suffix == ".onnx":
        _check_graph(step, result.path)
    return files


def _check_graph(step: Step, path: Path) -> None:
    """Refuse a graph that declares what it does not hold, or weights outside of its folder."""
    from core.formats.onnx_bounds import checked

    try:
        checked(path)
    except (InputError, UnsafePathError) as error:
        raise PluginError(
            f"stage `{step.name}` made a graph that cannot be kept", *_by(step), error.what,
            *error.lines,
        ) from error  # fmt: skip
