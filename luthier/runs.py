"""Runs and plans a recipe from Python, and holds what came out of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from core.errors import ConfigError
from luthier.calls import StrPath, called, composed, words
from luthier.outputs import Outputs, Played
from luthier.watch import ProgressCallback, watching

if TYPE_CHECKING:
    from core.plan.candidates import Candidate
    from core.plugin.records import BudgetLine, Judged, RunRecord
    from core.plugin.values import Metric

__all__ = ["Plan", "PlannedStep", "Run", "plan", "run"]


@dataclass(frozen=True)
class Run:
    """A finished run: its folder, and every figure of its report as `record`.

    In a notebook it shows its summary, its sounds or images, and the error budget.
    """

    folder: Path
    record: RunRecord
    _played: Played = field(repr=False)

    @cached_property
    def outputs(self) -> Mapping[str, Outputs]:
        """Return what was played, by the name of the item: float32 arrays by their labels.

        It is read from the store. If a clean-up removed it, it is played again; raises StoreError
        if the model is gone, too.
        """
        return self._played.outputs()

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """Return every measured figure, with its unit and the device that it was measured on."""
        return self.record.metrics

    @property
    def budget(self) -> tuple[BudgetLine, ...]:
        """Return the rows of the error budget, in dB."""
        return self.record.budget

    @property
    def contract(self) -> tuple[Judged, ...]:
        """Return every limit of the recipe, with the measured value."""
        return self.record.contract

    @property
    def held(self) -> bool:
        """Return whether every limit of the contract was held; also true without a contract."""
        return all(one.held for one in self.contract)

    @property
    def bundle(self) -> Path | None:
        """Return the folder of what ships; None where the contract was not held."""
        path = self.folder / "bundle"
        return path if path.is_dir() else None

    @property
    def report(self) -> Path | None:
        """Return the page that opens in a browser; None where the recipe has no such reporter."""
        path = self.folder / "report.html"
        return path if path.is_file() else None

    def __repr__(self) -> str:
        """Return recipe and folder."""
        return f"<Run of {self.record.recipe} at {self.folder}>"

    def _repr_html_(self) -> str:
        from luthier.notebook import of_run

        return of_run(self.record, self.folder, self.report)


@dataclass(frozen=True)
class PlannedStep:
    """One step of a plan: the plugin, what it takes and gives, and why it would run."""

    name: str
    plugin: str
    takes: str
    gives: str
    cached: bool
    why: str


@dataclass(frozen=True)
class Plan:
    """What a run of a recipe would do, for one precision; `misfit` says why it cannot run."""

    recipe: str
    title: str
    precision: str
    steps: tuple[PlannedStep, ...]
    notices: tuple[str, ...] = ()
    misfit: str = ""

    @property
    def to_run(self) -> int:
        """Return how many steps are not in the store."""
        return sum(not step.cached for step in self.steps)

    def _repr_html_(self) -> str:
        from luthier.notebook import of_plan

        if self.misfit:
            return of_plan(f"{self.precision}: left out, {self.misfit}", (), ())
        rows = [
            (s.name, s.plugin, s.takes, s.gives, "cached" if s.cached else "would run", s.why)
            for s in self.steps
        ]
        last = f"{self.to_run} of {len(self.steps)} steps would run; nothing was executed"
        head = f"{self.recipe}: {self.title}, precision {self.precision}"
        return of_plan(head, rows, (*self.notices, last))


def run(
    recipe: StrPath,
    *,
    input: StrPath | None = None,  # noqa: A002  # the word of the command line
    overrides: Sequence[str] = (),
    progress: ProgressCallback | None = None,
    show: bool = False,
    check: bool = True,
) -> Run:
    """Run a recipe, as `python -m core recipe=... input=...` does, and return what came out.

    `recipe` is a name or the path of a file, `input` the path of a file or a folder. `overrides`
    are words of the command line: `["precision=int8", "output=/path/to/folder"]`. `progress` is
    called with the stage's name, the units done and in all (0 if unknown), and a message. `show`
    prints what the command line prints. Calls from several threads run one after the other.

    Raises a LuthierError, whose `what` and `lines` say what is wrong and what to do next. A broken
    contract is a ContractError, unless `check` is false: then `Run.held` says so.
    """
    from core.config.compose import recipe_of_job
    from core.run.job import performing
    from core.store.locate import open_store

    given = words(recipe, input, overrides)
    _refuse_other_modes(given)
    with called(show=show, progress=progress) as tell, composed(given) as (cfg, command):
        store, registry = open_store(cfg.store), command.registry
        job = performing(cfg, registry, store, recipe_of_job(), command.recipes)
        with watching(registry, tell), job as ended:
            # Opened now: to keep the store below its limit, the file may be removed.
            played = Played(ended.record, ended.pipeline, store.state_dir)
        if ended.breach is not None and check:
            raise ended.breach
        return Run(ended.folder, ended.record, played)


def plan(
    recipe: StrPath,
    *,
    input: StrPath | None = None,  # noqa: A002  # the word of the command line
    overrides: Sequence[str] = (),
) -> list[Plan]:
    """Return what a run would do, without running anything: a plan for each precision to try.

    Raises a LuthierError where the recipe does not fit together.
    """
    from core.config.compose import recipe_of_job
    from core.plan.candidates import candidates
    from core.store.locate import open_store

    given = words(recipe, input, overrides)
    _refuse_other_modes(given)
    with called(show=False), composed([*given, "mode=plan"]) as (cfg, command):
        store = open_store(cfg.store)
        found = candidates(cfg, command.registry, recipe_of_job(), command.recipes, store)
        return [_plan(one) for one in found]


def _refuse_other_modes(given: Sequence[str]) -> None:
    """Refuse words that ask for something else than one run."""
    for word in given:
        if word.startswith("mode=") or word in ("-m", "--multirun"):
            raise ConfigError(
                f"`{word}` asks for something else than a run",
                "from Python: luthier.plan, luthier.sweep, luthier.list",
            )


def _plan(candidate: Candidate) -> Plan:
    from core.inference.items import passed_over
    from core.plan.advice import advice

    if candidate.plan is None:
        misfit = candidate.misfit.what if candidate.misfit else "it does not fit"
        return Plan("", "", candidate.precision, (), misfit=misfit)
    pipeline = candidate.plan.pipeline
    steps = tuple(
        PlannedStep(
            planned.step.name,
            planned.step.plugin,
            f"{planned.step.takes.format} {planned.step.takes.precision}"
            if planned.step.takes
            else "",
            f"{planned.step.gives.format} {planned.step.gives.precision}"
            if planned.step.gives
            else "",
            planned.cached,
            planned.why,
        )
        for planned in candidate.plan.steps
    )
    told = tuple(notice.text for notice in (*advice(pipeline), *passed_over(pipeline)))
    return Plan(pipeline.recipe, pipeline.title, pipeline.precision, steps, told)
