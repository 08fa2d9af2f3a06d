"""One job: a composed config becomes a plan, a run, a run folder and a report."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from errno import ENOSPC
from pathlib import Path
from typing import Any, cast

import pluggy
from omegaconf import DictConfig, OmegaConf

from core.bundle.golden import Expected
from core.bundle.write import write_bundle
from core.config.arguments import command, key_of
from core.config.compose import words_of_job
from core.config.pipeline import Pipeline
from core.config.recipes import Recipe
from core.config.settings import Mode
from core.errors import TRACE, ContractError, DoesNotFitError, LuthierError, PluginError, StoreError
from core.inference.context import RunContext
from core.inference.items import passed_over
from core.machine import cores, folders
from core.machine.environment import versions
from core.machine.remedy import is_full
from core.measure import contract
from core.measure.error_budget import budget_of
from core.measure.placement import coverage_of
from core.plan import candidates, feasibility
from core.plan.advice import advice
from core.plan.candidates import Candidate
from core.plan.plan import Plan
from core.plugin.hooks import reporting
from core.plugin.records import RunRecord, StageRecord
from core.plugin.registry import Registry
from core.plugin.step_names import EVALUATE, MODEL, PLAY, RUNTIME, SAVE
from core.plugin.values import Artifact
from core.run import folder, lockfile
from core.run.choose import Choice, Trial, Tried, best_of, first_that_holds
from core.run.execute import Outcome, execute, step_result
from core.run.fitness import unfit
from core.run.folder import RunFolder
from core.run.golden import expected
from core.run.record import against_in, record_of
from core.steps.evaluate import read_metrics
from core.steps.golden import golden_step
from core.steps.play import place_saved
from core.store import uses
from core.store.limit import at_work
from core.store.local import Store
from core.store.locate import open_store
from core.text.screen import say

__all__ = ["Ended", "perform", "performing", "prepare", "run", "unreported"]

#: SQLite's own code for a full disk.
SQLITE_FULL = 13


@dataclass(frozen=True)
class Ended:
    """How a job ended: its record and folder, what it shipped, and the breach of the contract.

    `pipeline` is that of the precision which was chosen; `breach` is None where the contract holds.
    """

    record: RunRecord
    folder: Path
    pipeline: Pipeline
    shipped: Artifact
    breach: ContractError | None


def run(cfg: DictConfig, registry: Registry, recipe: str, recipes: Mapping[str, Recipe]) -> None:
    """Plan the job and, unless `mode=plan`, execute it: once, or at several precisions."""
    if cfg.mode is Mode.plan:
        from core.config.touched import touched
        from core.plan.show import show, show_touched

        store = open_store(cfg.store)
        found = candidates.candidates(cfg, registry, recipe, recipes, store)
        for candidate in found:
            show(candidate)
        planned = [p for c in found if c.plan is not None for p in c.plan.pipeline.plugins]
        show_touched(touched(planned, store.address, cfg.output))
        return
    with performing(cfg, registry, open_store(cfg.store), recipe, recipes) as ended:
        pass
    if ended.breach is not None:
        raise ended.breach


@contextmanager
def performing(
    cfg: DictConfig,
    registry: Registry,
    store: Store,
    recipe: str,
    recipes: Mapping[str, Recipe],
) -> Iterator[Ended]:
    """Plan and execute the job, and leave a run folder in `output`; yield how it ended.

    Inside the block all its results are in the store. Afterwards the store is brought below its
    limit.
    """
    with at_work(store, "run", recipe, cfg.store_limit_gb):
        found = candidates.candidates(cfg, registry, recipe, recipes, store)
        first = next(c.plan for c in found if c.plan is not None)
        place = folder.new_folder(Path(cfg.output), first.pipeline.recipe)
        yield perform(found, registry, store, recipes, place)


def perform(
    found: Sequence[Candidate],
    registry: Registry,
    store: Store,
    recipes: Mapping[str, Recipe],
    place: AbstractContextManager[RunFolder],
    sweep: str = "",
) -> Ended:
    """Execute planned candidates with their reporters watching, and leave a run folder at `place`.

    `sweep` names the sweep that the job belongs to.
    """
    with _watched(found, registry):
        return _Job(registry, store, recipes, sweep).run(found, place)


def prepare(
    plan: Plan,
    found: Sequence[Candidate],
    registry: Registry,
    store: Store,
    recipes: Mapping[str, Recipe],
) -> Sequence[StageRecord]:
    """Execute a part of the plan of the only candidate; returns what its steps did."""
    with _watched(found, registry):
        return _Job(registry, store, recipes, "").executed(plan).records


@contextmanager
def _watched(found: Sequence[Candidate], registry: Registry) -> Iterator[None]:
    """Let the reporters of the candidates watch while the block runs."""
    reporters = next(c.plan for c in found if c.plan is not None).pipeline.reporter
    with reporting(registry.manager, reporters):
        try:
            yield
        finally:
            registry.manager.hook.luthier_run_ended()


class _Job:
    """One job: runs candidates, chooses one of them, and writes its run folder."""

    def __init__(
        self, registry: Registry, store: Store, recipes: Mapping[str, Recipe], sweep: str
    ) -> None:
        self.store, self.recipes, self.sweep = store, recipes, sweep
        self.hook = registry.manager.hook
        self.started, self.clock = datetime.now(UTC), time.perf_counter()

    def run(self, found: Sequence[Candidate], where: AbstractContextManager[RunFolder]) -> Ended:
        """Run the candidates, and leave a run folder; raises if no candidate could be tried."""
        first = next(c for c in found if c.plan is not None)
        choose = candidates.several(first.cfg)
        # Made before the first step, so that a place that cannot be written is found at once.
        with where as place:
            choice = self._choice(found) if choose else Choice(self._tried(first))
            tried = choice.tried
            if tried is None:
                raise ContractError("no precision could be tried", *choice.lines())
            golden = None if contract.missed(tried.judged) else self._golden(tried)
            # Like a step, this does not run while another job of a sweep is timed.
            with cores.shared(say):
                record, problem = self._left(place.partial, choice, tried, golden)
        uses.placed(self.store.root, place.final)
        self.hook.luthier_run_placed(folder=str(place.final))
        if problem is not None:
            raise unreported(problem, place.final) from problem
        breach = _breach(choice, record, place.final) if contract.missed(record.contract) else None
        return Ended(record, place.final, tried.plan.pipeline, tried.outcome.shipped, breach)

    def _tried(self, candidate: Candidate) -> Tried:
        """Run every step of a candidate, and judge the result."""
        assert candidate.plan is not None
        pipeline, outcome = candidate.plan.pipeline, self.executed(candidate.plan)
        metrics = tuple(read_metrics(outcome.artifacts[EVALUATE]))
        budget = tuple(budget_of(outcome.artifacts))
        against = against_in(outcome.artifacts)
        coverage = coverage_of(
            outcome.artifacts,
            outcome.shipped,
            pipeline.target.title,
            never_run=bool(pipeline.never_run),
        )
        typed = {key_of(word).removeprefix("contract.") for word in words_of_job()}
        judged = contract.judge(
            pipeline, outcome.shipped, metrics, budget, against, coverage, typed
        )
        return Tried(candidate, candidate.plan, outcome, metrics, budget, judged)

    def executed(self, plan: Plan) -> Outcome:
        """Execute a plan, and keep the verdict of the compiler on the window, if it ran."""
        pipeline = plan.pipeline
        self.hook.luthier_run_started(plan=plan.record)
        try:
            outcome = execute(plan, self.store, self.hook)
        except DoesNotFitError as error:
            feasibility.keep(self.store, pipeline, feasibility.refused(pipeline, error))
            others = [word for word in words_of_job() if not word.startswith(("mode=", "chunker."))]
            search = command([*others, "mode=fit"], self.recipes)
            raise feasibility.advised(error, pipeline, self.store, search) from error
        if RUNTIME in outcome.artifacts:
            compiled = feasibility.compiled(pipeline, outcome.artifacts[RUNTIME])
            feasibility.keep(self.store, pipeline, compiled)
        return outcome

    def _made(self, plan: Plan) -> dict[str, Artifact]:
        """Make and count the artifact of a plan, without playing it.

        The bytes that a window moves are read from the graph; only the size needs the compiled one.
        """
        self.hook.luthier_run_started(plan=plan.record)
        compiled = plan.pipeline.target.objective == "smallest"
        return execute(plan.only_made(compiled=compiled), self.store, self.hook).artifacts

    def _choice(self, found: Sequence[Candidate]) -> Choice:
        """Try one candidate after the other, as `ladder` or `auto` asks, and choose one."""
        trial = Trial(self._tried, self._made, self.store, self.hook)
        return best_of(found, trial) if found[0].cfg.auto else first_that_holds(found, trial)

    def _left(
        self, partial: Path, choice: Choice, tried: Tried, golden: Expected | None
    ) -> tuple[RunRecord, Exception | None]:
        """Write the run folder: saved files, lock, report, and the bundle if the contract holds."""
        plan, outcome = tried.plan, tried.outcome
        if not Path(outcome.artifacts[SAVE].folder).is_dir():  # removed to make room in the store
            plan = plan.with_files_of(SAVE, self.store)
            outcome = self.executed(plan)
            tried = replace(tried, plan=plan, outcome=outcome)
        saved = place_saved(outcome.artifacts[SAVE], partial)
        config = cast(
            "dict[str, Any]",
            OmegaConf.to_container(tried.candidate.cfg, resolve=True, enum_to_str=True),
        )
        text = lockfile.lock(config, outcome.artifacts, versions())
        (partial / "recipe.lock.yaml").write_text(text, encoding="utf-8")
        if not contract.missed(tried.judged):
            shipped, source = _shipped(plan, outcome)
            write_bundle(partial / "bundle", plan.pipeline, shipped, source, golden)
        seconds = time.perf_counter() - self.clock
        unfitting = unfit(plan.pipeline, outcome.artifacts[MODEL].info, self.recipes)
        told = (
            *unfitting,
            *advice(plan.pipeline),
            *passed_over(plan.pipeline),
            *self.store.notices,
        )
        record = record_of(tried, choice, saved, text, self.started, seconds, self.sweep, told)
        again = command(words_of_job(), self.recipes)
        record = replace(record, command=again)
        return record, _report(self.hook, record, partial)

    def _golden(self, tried: Tried) -> Expected | None:
        """Return the window by which the bundle tests itself: from the store, or played now."""
        artifacts = tried.outcome.artifacts
        source = str(artifacts[PLAY].facts["source"])
        step = golden_step(RunContext(tried.plan.pipeline), source)
        played, _ = step_result(step, artifacts, self.store, self.hook)
        return expected(played, artifacts, tried.budget, source)


def _breach(choice: Choice, record: RunRecord, place: Path) -> ContractError:
    """Return the error that says which limit broke, by how much, and which stage lost it."""
    missed = contract.missed(record.contract)
    if record.candidates:
        what = "no precision holds the contract"
        lines = choice.lines()
    else:
        what = f"the contract is broken: {contract.story(missed[0])}"
        lines = [contract.story(one) for one in missed[1:]]
    return ContractError(
        what,
        *lines,
        f"nothing was shipped: {place} has the report and no bundle",
        "ask for less (contract.<limit>=...), or try other precisions: ladder=[mixed,w8a16,fp16]",
    )


def unreported(problem: Exception, place: Path) -> LuthierError:
    """Return the error for a reporter that failed; the results are there without it.

    A refusal of the system, such as a full disk, is no breach of a plugin's contract.
    """
    missing = f"a file that it did not write is missing from {place}; all others are there"
    refused = _refusal(problem)
    if refused is not None:
        said = folders.unwritable("a report", refused, place)
        return StoreError(said.what, missing, *said.lines)
    if isinstance(problem, LuthierError):
        return PluginError(f"a reporter failed: {problem.what}", missing, *problem.lines)
    return PluginError(
        f"a reporter failed: {type(problem).__name__}: {problem}",
        missing,
        TRACE,
    )


def _refusal(problem: BaseException) -> OSError | None:
    """Return the system's refusal behind a reporter's error, however wrapped; else None."""
    if isinstance(problem, OSError) and not isinstance(problem, ConnectionError | TimeoutError):
        return problem if problem.errno else None
    link: BaseException | None = problem
    while link is not None:
        if is_full(link) or getattr(link, "sqlite_errorcode", None) == SQLITE_FULL:
            return link if isinstance(link, OSError) else OSError(ENOSPC, os.strerror(ENOSPC))
        link = link.__cause__ or link.__context__
    return None


def _report(hook: pluggy.HookRelay, record: RunRecord, partial: Path) -> Exception | None:
    """Let the reporters write; returns an error of theirs: a report must not cost the result."""
    try:
        hook.luthier_run_finished(record=record, folder=str(partial))
    except Exception as error:
        return error
    return None


def _shipped(plan: Plan, outcome: Outcome) -> tuple[Artifact, Artifact | None]:
    """Return the artifact that goes to the device, and the one that it was compiled from."""
    artifacts = outcome.artifacts
    if RUNTIME not in artifacts:
        return outcome.shipped, None
    (before, *_) = next(p.step.inputs for p in plan.steps if p.step.name == RUNTIME)
    return outcome.shipped, artifacts[before] if before != "model" else None
