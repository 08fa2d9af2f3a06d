"""Hydra's sweeper that lets Optuna choose the points: `hydra/sweeper=optuna`.

The study lies in a SQLite file in the sweep's folder, so that a search that was stopped goes on,
and `optuna-dashboard` can open it. Points that the plan refuses, or that the device's compiler
refused before, are pruned before anything runs; no point runs twice.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.errors import ConfigError
from core.sweep.grid import Combination
from core.sweep.messages import PointResult
from core.sweep.metrics import catalogue
from core.sweep.pareto import cost
from core.sweep.search_options import SAMPLERS, SearchOptions
from core.sweep.space import space_of
from core.sweep.sweeper import LuthierSweeper
from core.sweep.windows import comparison, differ

if TYPE_CHECKING:
    import optuna

    from core.plugin.records import Axis, SweepMetric
    from core.sweep.launch import Launch
    from core.sweep.optuna_study import StudyFile
    from core.sweep.plan import PlannedPoint, SweepPlan

__all__ = ["SearchSweeper"]

#: Windows that a search tries, to find those that it compares points with.
WINDOWS = 4
#: After so many draws in a row of points that ran before, a new point is taken at random.
STUCK = 10


class SearchSweeper(LuthierSweeper):
    """Runs the points that Optuna chooses, in batches, through Hydra's launcher."""

    def __init__(self, params: Mapping[str, Any] | None = None, **options: Any) -> None:
        super().__init__(params)
        self.options = SearchOptions(**options)
        self.objectives = list(self.options.objectives)
        self._between: list[PlannedPoint] | None = None

    def points(self, arguments: Sequence[str]) -> tuple[tuple[Axis, ...], Sequence[Combination]]:
        """Return every point of a space that can be listed; else one corner of the space."""
        _check(self.options)
        self.space = space_of(arguments, self.hydra_context.config_loader)
        if self.options.sampler == "front" and not self.space.listed:
            raise ConfigError(
                "the sampler `front` needs points that can be listed",
                "give values, or another sampler: hydra.sweeper.sampler=gp",
            )
        values = list(self.space.points()) if self.space.listed else [self.space.corner()]
        points = [Combination(n, v, self.space.line(v)) for n, v in enumerate(values, start=1)]
        return self.space.axes, points

    def run_points(
        self, plan: SweepPlan, place: Path, launch: Launch
    ) -> list[tuple[Combination, PointResult]]:
        """Ask Optuna for points and run them until there are `n_trials`.

        If windows differ, FP32 PyTorch is first played in a few of them, the longest included, to
        find what points are compared with. To try all of them would need no search.
        """
        points = self._with_windows(plan)
        self.comparison = comparison(points, place, launch, WINDOWS)
        return _Search(self, plan, place, launch).run()

    def windows_differ(self, plan: SweepPlan) -> bool:
        """Return whether points have different windows, so that a time per window says nothing."""
        return differ(self._with_windows(plan))

    def _with_windows(self, plan: SweepPlan) -> Sequence[PlannedPoint]:
        """Return points with the windows of the space, or with some of those between two ends."""
        if self.space.listed:
            return plan.points
        if self._between is None:
            corners = [self.space.corner(k / (WINDOWS - 1), "chunker") for k in range(WINDOWS)]
            self._between = [
                self.planned(Combination(number, values, self.space.line(values)))
                for number, values in enumerate(corners, start=1)
            ]
        return self._between


class _Search:
    """One start of a search: what is known so far, and the study that it goes into."""

    def __init__(
        self, sweeper: SearchSweeper, plan: SweepPlan, place: Path, launch: Launch
    ) -> None:
        self.sweeper, self.place, self.launch = sweeper, place, launch
        self.options, self.space = sweeper.options, sweeper.space
        self.sampler = self.options.sampler or ("front" if self.space.listed else "gp")
        assert sweeper.comparison is not None, "it is found out before the search begins"
        self.comparison, self.windows = sweeper.comparison, sweeper.windows_differ(plan)
        self.planned = {_key(p.point.values): self.comparison.of(p) for p in plan.points}
        self.results: dict[tuple[str, ...], tuple[Combination, PointResult]] = {}
        self.random = random.Random(self.options.seed)  # noqa: S311  # draws points, not secrets
        self.ran = 0
        if self.space.listed:
            refused = [p for p in plan.points if p.refused is not None]
            for planned, (_, result) in zip(refused, launch.all(refused, place), strict=True):
                self._note(planned, result)
            self.space = self.space.without([p.point.values for p in refused])

    def run(self) -> list[tuple[Combination, PointResult]]:
        """Run points until there are enough, or none is left."""
        from core.sweep.optuna_study import opened

        name, file = self.place.name, Path(self.options.study or self.place / "study.db")
        with opened(file, name, self.space) as study_file:
            for values in study_file.begun():
                self._evaluate([values])
            objectives = self._objectives()
            if objectives:
                study = study_file.study(self.options, objectives)
                for values, result in self._results_so_far():
                    study_file.add(study, values, result, objectives)
                self._go_on(study, study_file, objectives)
        return sorted(self.results.values(), key=lambda pair: pair[0].number)

    def _objectives(self) -> list[SweepMetric]:
        """Return the objectives, which are known once one point has been measured."""
        while self.ran < self.options.n_trials:
            measured = [result for _, result in self.results.values() if result.metrics]
            if measured:
                first = measured[0]
                found = catalogue([first.metrics], first.figures, windows=self.windows)
                return _chosen(found, self.options)
            values = self._unseen()
            if values is None:
                return []
            self._evaluate([values])
        return []

    def _go_on(
        self, study: optuna.Study, study_file: StudyFile, objectives: Sequence[SweepMetric]
    ) -> None:
        repeated = 0
        while self.ran < self.options.n_trials and not self._exhausted():
            batch: list[tuple[optuna.Trial, dict[str, str]]] = []
            wanted = min(self.options.at_once, self.options.n_trials - self.ran)
            while len(batch) < wanted and not self._exhausted(len(batch)):
                stuck = repeated >= STUCK
                if self.sampler == "front" or stuck:
                    pending = [values for _, values in batch]
                    point = self._unseen(pending) if stuck else self._likeliest(pending, objectives)
                    assert point is not None, "a space that is not exhausted has one"
                    study_file.enqueue(study, point)
                    repeated = 0
                trial, values = study_file.ask(study)
                seen = self.results.get(_key(values))
                if seen is None and all(values != other for _, other in batch):
                    batch.append((trial, values))
                    repeated = 0
                    continue
                repeated += 1
                study_file.tell(study, trial, seen[1] if seen else None, objectives)
            self._evaluate([values for _, values in batch])
            for trial, values in batch:
                study_file.tell(study, trial, self.results[_key(values)][1], objectives)

    def _evaluate(self, batch: Sequence[Mapping[str, str]]) -> None:
        """Run points, and note their results."""
        planned = [self._plan(values) for values in batch]
        for one, (_, result) in zip(planned, self.launch.all(planned, self.place), strict=True):
            self._note(one, result)
            self.ran += one.refused is None

    def _plan(self, values: Mapping[str, str]) -> PlannedPoint:
        known = self.planned.get(_key(values))
        if known is not None:
            return known
        point = Combination(len(self.results) + 1, dict(values), self.space.line(values))
        planned = self.comparison.of(self.sweeper.planned(point))
        self.planned[_key(values)] = planned
        return planned

    def _note(self, planned: PlannedPoint, result: PointResult) -> None:
        self.results[_key(planned.point.values)] = (planned.point, result)

    def _results_so_far(self) -> list[tuple[dict[str, str], PointResult]]:
        return [(point.values, result) for point, result in self.results.values()]

    def _listed(self) -> list[dict[str, str]]:
        """Return the values of every point of a space that can be listed, but those refused."""
        every = self.planned.values() if self.space.listed else ()
        return [planned.point.values for planned in every if planned.refused is None]

    def _left(self) -> list[dict[str, str]]:
        """Return the values of every point of a space that can be listed that did not run."""
        return [values for values in self._listed() if not self._ran(values)]

    def _exhausted(self, pending: int = 0) -> bool:
        """Return whether every point ran, with `pending` ones about to."""
        return self.space.listed and len(self._left()) <= pending

    def _likeliest(
        self, pending: Sequence[Mapping[str, str]], objectives: Sequence[SweepMetric]
    ) -> dict[str, str] | None:
        """Return the point that did not run and is likeliest on the front; None without one."""
        from core.sweep.pareto_sampler import likeliest

        points = self._listed()
        result = {i: self.results[_key(v)][1] for i, v in enumerate(points) if self._ran(v)}
        costs = {
            index: [cost({n: v for n, (v, _) in one.figures.items()}, o) for o in objectives]
            for index, one in result.items()
            if all(o.name in one.figures for o in objectives)
        }
        out = [index for index, v in enumerate(points) if self._ran(v) or v in pending]
        seed = self.options.seed or 0
        index = likeliest(self.space.dimensions, points, costs, out, seed)
        return None if index is None else points[index]

    def _ran(self, values: Mapping[str, str]) -> bool:
        return _key(values) in self.results

    def _unseen(self, but: Sequence[Mapping[str, str]] = ()) -> dict[str, str] | None:
        """Return a point at random that did not run; None where there is none."""
        if not self.space.listed:
            return {d.key: d.at_random(self.random) for d in self.space.dimensions}
        left = [values for values in self._left() if values not in but]
        return self.random.choice(left) if left else None


def _chosen(figures: Sequence[SweepMetric], options: SearchOptions) -> list[SweepMetric]:
    if not options.objectives:
        return [figure for figure in figures if figure.objective]
    named = {figure.name: figure for figure in figures}
    unknown = [name for name in options.objectives if name not in named]
    if unknown:
        raise ConfigError(
            f"no figure is named `{unknown[0]}`",
            f"figures of this recipe: {', '.join(named)}",
            "at: hydra.sweeper.objectives",
        )
    return [named[name] for name in options.objectives]


def _key(values: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(values.values())


def _check(options: SearchOptions) -> None:
    """Raise ConfigError for options that cannot be."""
    if options.sampler is not None and options.sampler not in SAMPLERS:
        raise ConfigError(
            f"no sampler is named `{options.sampler}`",
            f"samplers: {', '.join(SAMPLERS)}",
            "at: hydra.sweeper.sampler",
        )
    for name in ("n_trials", "startup", "at_once"):
        if getattr(options, name) < 1:
            raise ConfigError(
                f"`{name}` is {getattr(options, name)}; give 1 or more", f"at: hydra.sweeper.{name}"
            )
