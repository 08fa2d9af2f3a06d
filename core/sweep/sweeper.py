"""What Luthier's two sweepers for Hydra share: the one over a grid and the one that searches."""

from __future__ import annotations

import functools
import time
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from hydra.plugins.sweeper import Sweeper
from omegaconf import DictConfig, OmegaConf

from core.config.command_line import refuse_credentials
from core.config.compose import entered
from core.config.recipes import Recipe
from core.config.settings import Mode, checked
from core.config.settings import Sweep as SweepSettings
from core.errors import ConfigError, ContractError, LuthierError, StageError
from core.plugin.registry import Registry
from core.text.screen import say

if TYPE_CHECKING:
    from hydra.types import HydraContext, TaskFunction

    from core.plan.plan import Plan
    from core.plugin.records import Axis, SweepRecord
    from core.store.local import Store
    from core.sweep.grid import Combination
    from core.sweep.launch import Launch
    from core.sweep.messages import PointResult
    from core.sweep.plan import PlannedPoint, SweepPlan
    from core.sweep.windows import Comparison

__all__ = ["LuthierSweeper", "Start"]

#: With more points than this, planning takes long enough to be announced.
MANY_TO_PLAN = 20


#: Runs what `mode` says, given a config, the plugins, the recipes and the name of its recipe.
RunMode = Callable[[DictConfig, Registry, Mapping[str, Recipe], str], None]


class Start:
    """What the command line hands to a sweeper, in place of the function that Hydra would run."""

    def __init__(
        self,
        registry: Registry,
        recipes: Mapping[str, Recipe],
        run: Callable[[DictConfig, Registry, Mapping[str, Recipe], str], None],
    ) -> None:
        self.registry, self.recipes, self.run = registry, recipes, run

    def __call__(self, cfg: DictConfig) -> None:
        """Run one point in this process: what Hydra's own sweepers and `mode=fit` do."""
        from core.config.compose import recipe_of_job, words_of_job

        say(f"\njob: {' '.join(words_of_job())}")
        self.run(cfg, self.registry, self.recipes, recipe_of_job())


class LuthierSweeper(Sweeper):
    """Plans all points, runs them through Hydra's launcher, and reports one record of them."""

    config: DictConfig
    hydra_context: HydraContext

    def __init__(self, params: Mapping[str, Any] | None = None) -> None:
        self.params = dict(params or {})

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        """Take what Hydra gives; `task_function` is the `Start` of the command line."""
        assert isinstance(task_function, Start)
        self.hydra_context, self.start, self.config = hydra_context, task_function, config

    @abstractmethod
    def points(self, arguments: Sequence[str]) -> tuple[tuple[Axis, ...], Sequence[Combination]]:
        """Return the axes and the points that are known before anything runs."""

    @abstractmethod
    def run_points(
        self, plan: SweepPlan, place: Path, launch: Launch
    ) -> list[tuple[Combination, PointResult]]:
        """Run points; returns each with its result."""

    #: The figures that the front is drawn over; empty for the usual ones.
    objectives: Sequence[str] = ()
    #: What the points are compared with, and whether their windows differ, once that is known.
    comparison: Comparison | None = None

    def windows_differ(self, plan: SweepPlan) -> bool:
        """Return whether points have different windows, so that a time per window says nothing."""
        from core.sweep.windows import differ

        return differ(plan.points)

    def sweep(self, arguments: list[str]) -> Any:
        """Run the sweep that the command line asks for; raises if one failed or none ended well."""
        arguments = [*(f"{key}={value}" for key, value in self.params.items()), *arguments]
        self.arguments = arguments
        # This includes values from presets; the command line was checked before.
        content = cast("dict[str, Any]", OmegaConf.to_container(self.config))
        refuse_credentials(content, "the composed config")
        self.settings = cast("SweepSettings", checked(self.config, "sweep"))
        self.axes, points = self.points(arguments)
        if len(points) > MANY_TO_PLAN:
            say(f"planning {len(points)} points")
        if self.config.mode not in (Mode.run, Mode.plan):
            self._one_by_one(points)
            return
        from core.sweep.show_plan import sentence, show

        if self.config.mode is Mode.plan:
            show(self._planned(points), self._store.address, self.config.output)
            return
        from core.store.limit import at_work
        from core.sweep.folder import identity

        recipe = self.config.hydra.runtime.choices.get("recipe") or ""
        limit, sweep = self.config.store_limit_gb, identity(self.arguments)
        with at_work(self._store, "sweep", recipe, limit, sweep):
            plan = self._planned(points)
            say(f"{sentence(plan)}\n")
            self._run(plan)

    def planned(self, point: Combination) -> PlannedPoint:
        """Plan one point now, with what the store has by now."""
        from core.sweep.plan import plan_point

        cfg = self._composed(point)
        return plan_point(point, cfg, self.start.registry, self.start.recipes, self._store)

    def _planned(self, points: Sequence[Combination]) -> SweepPlan:
        from core.sweep.plan import plan_points

        return plan_points(
            points, self._composed, self.start.registry, self.start.recipes, self._store
        )

    @functools.cached_property
    def _store(self) -> Store:
        """Return the store, opened once: at a URL that costs a look over the network."""
        from core.store.locate import open_store

        return open_store(self.config.store)

    def _composed(self, point: Combination) -> DictConfig:
        """Compose the config of a point, and make it the current one of Hydra and the plan."""
        cfg = self.hydra_context.config_loader.load_sweep_config(self.config, list(point.overrides))
        return entered(cfg)

    def _one_by_one(self, points: Sequence[Combination]) -> None:
        """Run points in this process, job after job; if one fails, the others still run."""
        from core.config.hydra_errors import as_luthier_error

        failed: list[LuthierError] = []
        for point in points:
            try:
                self.start(self._composed(point))
            except Exception as error:
                failed.append(as_luthier_error(error, self.start.registry))
                say(f"error: {failed[-1]}")
        if failed:
            raise type(failed[0])(f"{len(failed)} job(s) of the sweep failed; see above")

    def _run(self, plan: SweepPlan) -> None:
        from core.config import launchers
        from core.store import uses
        from core.sweep.folder import identity, owned, place_of
        from core.sweep.launch import Launch, at, divided
        from core.sweep.point_task import Task, heard
        from core.sweep.summary import recorded

        started, clock = datetime.now(UTC), time.perf_counter()
        first, sweep = plan.first, identity(self.arguments)
        place = place_of(self.config.output, first.pipeline.recipe, sweep)
        uses.placed(self._store.root, place)
        launcher = self.config.hydra.launcher
        cores, lanes = divided(launcher)
        task = Task(
            sweep=sweep,
            place=str(place),
            cwd=str(Path.cwd()),
            recipes={
                str(recipe.file.resolve()): recipe.file.read_text(encoding="utf-8")
                for recipe in self.start.recipes.values()
                if recipe.given
            },
            fixed=self._fixed(),
            cores=cores,
            beside=lanes > 1,
            retries=self.settings.retries,
            verbose=bool(self.config.hydra.verbose),
            plugins=tuple(sorted({type(plugin).__module__ for plugin in plan.plugins})),
            libraries=tuple(
                sorted({one.module for plugin in plan.plugins for one in plugin.libraries})
            ),
        )
        launchers.check(self.config.hydra.runtime.choices["hydra/launcher"])
        with owned(place, sweep), launchers.ready(launcher):
            # This fails before the first point if the store cannot be written.
            with self._store.staging():
                pass
            launch = Launch(at(self.config, place), self.hydra_context, task, lanes)
            hook = self.start.registry.manager.hook

            def tell(label: str, result: str, done: int, total: int) -> None:
                hook.luthier_point_finished(label=label, result=result, done=done, total=total)

            try:
                with heard(sweep, tell):
                    results = self.run_points(plan, place, launch)
            finally:
                task.close()
            record = recorded(
                first,
                self.axes,
                results,
                self.arguments,
                self.start.recipes,
                started.isoformat(timespec="seconds"),
                time.perf_counter() - clock,
                self.objectives,
                windows=self.windows_differ(plan),
                against=self.comparison.said if self.comparison else (),
            )
            problem = self._reported(first, record, place)
        _judge(record, place)
        if problem is not None:
            raise problem

    def _reported(self, first: Plan, record: SweepRecord, place: Path) -> LuthierError | None:
        """Let the reporters write; returns an error of theirs, which must not cost the result."""
        from core.plugin.hooks import reporting
        from core.run.job import unreported

        manager = self.start.registry.manager
        with reporting(manager, first.pipeline.reporter):
            try:
                manager.hook.luthier_sweep_finished(record=record, folder=str(place))
            except Exception as error:
                problem = unreported(error, place)
                problem.__cause__ = error
                return problem
        return None

    def _fixed(self) -> tuple[str, ...]:
        """Return the overrides that hold on every machine: where the store is, above all."""
        if any(argument.startswith("store=") for argument in self.arguments):
            return ()
        return (f"store='{self._store.address}'",)


def _judge(record: SweepRecord, place: Path) -> None:
    """Raise if a point of the sweep failed, none holds the contract, or all were refused."""
    failed = [point for point in record.points if point.status == "failed"]
    if failed:
        raise StageError(
            f"{len(failed)} of {len(record.points)} points failed; the other results are kept",
            *(f"{point.label}: {point.why}" for point in failed[:5]),
            f"their output: {place / 'logs'}",
            "repair the cause and start the sweep again: only missing points run",
        )
    if any(point.status == "done" for point in record.points):
        return
    if record.contract and any(point.status == "missed" for point in record.points):
        raise ContractError(
            "no point of the sweep holds the contract",
            *(f"{point.label}: {point.why}" for point in record.points[:5]),
            "ask for less (contract.<limit>=...), or sweep further",
        )
    raise ConfigError(
        "every point of the sweep was refused",
        *(f"{point.label}: {point.why}" for point in record.points[:5]),
    )
