"""`mode=fit`: the longest window that compiles for the target, at each precision.

The longest window of interest is tried first: if it fits, the search is over. Otherwise bisection
finds the border; it assumes that a window fits wherever a longer one does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import cast

from omegaconf import DictConfig
from rich.text import Text

from core.config.arguments import command
from core.config.compose import words_of_job
from core.config.pipeline import Pipeline, make_pipeline
from core.config.recipes import Recipe
from core.config.settings import Fit, checked, target_of
from core.errors import ConfigError, DoesNotFitError, StageError
from core.fit.table import Table, said, show, write
from core.inference.context import RunContext
from core.plan import feasibility
from core.plan.candidates import at_each_precision
from core.plan.check import check
from core.plan.feasibility import Verdict
from core.plan.plan import looked_up
from core.plugin.kinds import Runtime
from core.plugin.registry import Registry
from core.plugin.step_names import MODEL
from core.plugin.values import Artifact
from core.run import folder
from core.run.execute import execute
from core.steps import convert
from core.store import uses
from core.store.limit import at_work
from core.store.local import Store
from core.store.locate import open_store
from core.text.screen import say, screen

__all__ = ["longest_fitting", "run"]

#: The cause in the table where a stage failed and no compiler refused the window.
FAILED = "a stage failed"


def run(cfg: DictConfig, registry: Registry, recipe: str, recipes: Mapping[str, Recipe]) -> None:
    """Search at every precision, show the table, and leave it in a run folder."""
    wanted = cast("Fit", checked(cfg, "fit"))
    pipelines = [
        make_pipeline(composed, registry, recipe, recipes)
        for composed in _at_each_precision(cfg, wanted)
    ]
    for pipeline in pipelines:
        check(pipeline, registry)
        _check_compiles(pipeline, registry)
    store, started = open_store(cfg.store), datetime.now(UTC)
    tables: list[Table] = []
    reporters = pipelines[0].reporter
    for reporter in reporters:
        registry.manager.register(reporter, name=f"reporter:{reporter.name}")
    try:
        # The folder is made first, so that a place that cannot be written shows at once.
        with at_work(store, "fit", recipe, cfg.store_limit_gb):
            with folder.new_folder(Path(cfg.output), pipelines[0].recipe) as place:
                for pipeline in pipelines:
                    search = _Search(pipeline, wanted, store, registry)
                    tables.append(search.table)
                    search.run()
                asked = command(words_of_job(), recipes)
                write(place.partial, pipelines[0], tables, wanted, started, asked)
            uses.placed(store.root, place.final)
    except KeyboardInterrupt:
        registry.manager.hook.luthier_run_ended()
        show(tables, wanted)
        raise
    finally:
        registry.manager.hook.luthier_run_ended()
        for reporter in reporters:
            registry.manager.unregister(reporter)
    show(tables, wanted)
    say(f"\nresults {place.final}")
    for one in tables:
        if all(row.verdict.cause == FAILED for row in one.rows):
            failed = one.rows[0].verdict
            raise StageError(f"{one.precision}: {failed.why[0]}", *failed.why[1:])


def _at_each_precision(cfg: DictConfig, wanted: Fit) -> list[DictConfig]:
    own = [cfg.precision.get("name", "fp32") if cfg.precision else "fp32"]
    names = wanted.precisions or target_of(cfg).precisions or own
    return list(at_each_precision(cfg, names).values())


def _check_compiles(pipeline: Pipeline, registry: Registry) -> None:
    if pipeline.runtime.compiles:
        return
    compiling = [name for name, cls in registry.classes(Runtime).items() if cls.compiles]
    raise ConfigError(
        f"runtime `{pipeline.runtime.name}` compiles nothing, so no window is too long for it",
        f"recipe: {pipeline.recipe}",
        f"runtimes that compile: {', '.join(compiling)}",
    )


def longest_fitting(low: int, high: int, fits: Callable[[int], bool]) -> int | None:
    """Return the largest number from `low` to `high` that fits, or None; `high` is tried first."""
    if fits(high):
        return high
    if low == high or not fits(low):
        return None
    while high - low > 1:
        middle = (low + high) // 2
        if fits(middle):
            low = middle
        else:
            high = middle
    return low


class _Search:
    """The search at one precision; `table` fills up on the way."""

    def __init__(self, pipeline: Pipeline, wanted: Fit, store: Store, registry: Registry) -> None:
        self.pipeline, self.wanted, self.store = pipeline, wanted, store
        self.hook = registry.manager.hook
        self.console = screen()
        self.axis = _axis(pipeline, wanted)
        self.model = self._model()
        rates = [s.rates.get(self.axis) for s in self.model.info.signature.inputs]
        self.table = Table(
            pipeline.precision, self.axis, next(filter(None, rates), None), pipeline.runtime.columns
        )

    def run(self) -> None:
        """Fill the table; keep each verdict at once, so that Ctrl-C costs one attempt."""
        step = self.wanted.step
        low, high = (-(-length // step) for length in self._ends())
        found = longest_fitting(low, high, lambda number: self._fits(number * step))
        if found is not None:
            self.table.longest = found * step
            window = {**self.pipeline.chunker.window(), self.axis: found * step}
            self.table.option = feasibility.option_for(self.pipeline, window)

    def _ends(self) -> tuple[int, int]:
        longest = self.wanted.longest or self.model.info.train_window.get(self.axis)
        if longest is None:
            raise ConfigError(
                f"model `{self.pipeline.model.name}` does not say the length of its training "
                f"windows along `{self.axis}`",
                "give the longest window to try: fit.longest=...",
            )
        shortest = min(self.wanted.shortest or self.wanted.step, longest)
        return shortest, longest

    def _fits(self, length: int) -> bool:
        pipeline = _resized(self.pipeline, self.axis, length)
        self.console.print(
            Text.assemble((pipeline.precision, "bold"), f"  {self.table.size(length)}")
        )
        found, cached = feasibility.find(self.store, pipeline), True
        if found is None:
            found, cached = self._try(pipeline), False
            feasibility.keep(self.store, pipeline, found)
        self.table.add(length, found, cached=cached)
        self.console.print(f"  {said(found, cached=cached)}", soft_wrap=True)
        return found.fits

    def _try(self, pipeline: Pipeline) -> Verdict:
        """Convert and compile through the store, like any run."""
        context = RunContext(pipeline, self.wanted.calibration_windows)
        steps = convert.conversion(context)
        try:
            outcome = execute(looked_up(context, steps, self.store), self.store, self.hook)
        except DoesNotFitError as error:
            return feasibility.refused(pipeline, error)
        except StageError as error:
            # Some exporters and models fail only at some lengths, so the search goes on.
            failed = DoesNotFitError(error.what, *error.lines, cause=FAILED, cacheable=False)
            return feasibility.refused(pipeline, failed)
        finally:
            self.hook.luthier_run_ended()
        return feasibility.compiled(pipeline, outcome.artifacts[convert.final(steps)])

    def _model(self) -> Artifact:
        context = RunContext(self.pipeline)
        plan = looked_up(context, convert.conversion(context)[:1], self.store)
        cached = plan.steps[0].artifact
        return cached or execute(plan, self.store, self.hook).artifacts[MODEL]


def _axis(pipeline: Pipeline, wanted: Fit) -> str:
    """Return the axis whose window grows; raises ConfigError where the choice is not clear."""
    name, axes = pipeline.chunker.name, list(pipeline.chunker.window())
    if wanted.axis in axes or (wanted.axis is None and len(axes) == 1):
        return wanted.axis or axes[0]
    if not axes:
        raise ConfigError(
            f"chunker `{name}` cuts no axis, so there is no window to make longer",
            "choose one that cuts: chunker=...",
        )
    raise ConfigError(
        f"chunker `{name}` cuts {', '.join(f'`{axis}`' for axis in axes)}"
        + (f", not `{wanted.axis}`" if wanted.axis else ", and the search needs one of them"),
        f"give one: fit.axis={axes[0]}",
    )


def _resized(pipeline: Pipeline, axis: str, length: int) -> Pipeline:
    """Return the pipeline with windows of `length` along `axis`."""
    window = {**pipeline.chunker.window(), axis: length}
    try:
        chunker = pipeline.chunker.resized(window)
    except ValueError as error:
        raise ConfigError(
            f"chunker `{pipeline.chunker.name}` cannot have windows of {length}: {error}",
            "try longer windows only: fit.shortest=...",
        ) from error
    if dict(chunker.window()) != window:
        raise ConfigError(
            f"chunker `{pipeline.chunker.name}` cannot be given another window along `{axis}`",
            "choose one that can: its plugin overrides `resized`",
        )
    return replace(pipeline, chunker=chunker)
