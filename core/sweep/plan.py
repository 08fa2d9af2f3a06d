"""The plan of a sweep: every point composed and checked before the first one runs.

Two steps of two points are one piece of work when all that their results depend on is the same.
That is known before anything runs: if an input is not made yet, what it will be made from stands
for it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from core.config import hydra_errors
from core.config.compose import recipe_of_job
from core.config.limits import Limit
from core.errors import ConfigError, LuthierError, MisfitError
from core.plan import candidates, feasibility
from core.plan.plan import Plan, Planned
from core.store.entry import FORMAT
from core.store.hashing import digest

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from core.config.recipes import Recipe
    from core.plugin.kinds import Plugin
    from core.plugin.registry import Registry
    from core.store.local import Store
    from core.sweep.grid import Combination

__all__ = ["PlannedPoint", "Shared", "SweepPlan", "plan_point", "plan_points", "spread"]

#: Wrong points that one message names.
NAMED = 5


@dataclass(frozen=True)
class Shared:
    """One piece of work: which points ask for it, and whether the store has it.

    `seconds` is how long it took when it was made or, if it is not made yet, how long the same step
    of the same plugin took before, by the store; None if it never ran.
    """

    name: str
    plugin: str
    points: tuple[int, ...]
    cached: bool
    seconds: float | None


@dataclass(frozen=True)
class PlannedPoint:
    """One point with its plans, several if it tries several precisions, or why it is refused.

    `key` is the digest of all that its result depends on; `steps` are those of its plans, by key.
    """

    point: Combination
    recipe: str
    plans: tuple[Plan, ...]
    refused: MisfitError | None
    key: str
    steps: dict[str, Planned] = field(default_factory=dict)


@dataclass(frozen=True)
class SweepPlan:
    """All points, and the work that they share."""

    points: tuple[PlannedPoint, ...]
    shared: tuple[Shared, ...]

    @property
    def plugins(self) -> list[Plugin[Any]]:
        """Return the plugins of all points."""
        plans = [plan for planned in self.points for plan in planned.plans]
        return [plugin for plan in plans for plugin in plan.pipeline.plugins]

    @property
    def first(self) -> Plan:
        """Return the plan of the first point that has one; raises MisfitError where none does."""
        for planned in self.points:
            if planned.plans:
                return planned.plans[0]
        refused = [planned.refused for planned in self.points if planned.refused is not None]
        raise refused[0]


def plan_points(
    points: Sequence[Combination],
    composed: Callable[[Combination], DictConfig],
    registry: Registry,
    recipes: Mapping[str, Recipe],
    store: Store,
) -> SweepPlan:
    """Plan every point; raises ConfigError, before anything runs, for values that are wrong."""
    planned: list[PlannedPoint] = []
    wrong: list[tuple[Combination, LuthierError]] = []
    for point in points:
        try:
            planned.append(plan_point(point, composed(point), registry, recipes, store))
        except Exception as error:
            wrong.append((point, hydra_errors.as_luthier_error(error, registry)))
    if wrong:
        raise _refusal(wrong, len(points))
    return SweepPlan(tuple(planned), _shared(planned, store))


def plan_point(
    point: Combination,
    cfg: DictConfig,
    registry: Registry,
    recipes: Mapping[str, Recipe],
    store: Store,
) -> PlannedPoint:
    """Plan one point; Hydra's own config must be set for it."""
    recipe = recipe_of_job()
    try:
        found = candidates.candidates(cfg, registry, recipe, recipes, store)
    except MisfitError as error:
        return PlannedPoint(point, recipe, (), error, digest([list(point.overrides), error.what]))
    plans = tuple(c.plan for c in found if c.plan is not None)
    known = feasibility.find(store, plans[0].pipeline) if len(plans) == 1 else None
    if known is not None and not known.fits:
        refused = MisfitError(*known.why, "an earlier run of the compiler said this")
        return PlannedPoint(point, recipe, (), refused, digest([list(point.overrides), known.why]))
    steps: dict[str, Planned] = {}
    for plan in plans:
        steps |= _keyed(plan)
    decided = [
        # What is noted of a point has records of the store's.
        FORMAT,
        sorted(steps),
        [_judged_by(limit) for limit in plans[0].pipeline.contract],
        [list(cfg.ladder), bool(cfg.auto)],
        [reporter.name for reporter in plans[0].pipeline.reporter],
    ]
    return PlannedPoint(point, recipe, plans, None, digest(decided)[:16], steps)


def _judged_by(limit: Limit) -> list[Any]:
    """Return what decides on whether a limit holds; what it says of itself does not."""
    spec = limit.spec
    return [limit.name, limit.bound, spec.metric, spec.is_least]


def _keyed(plan: Plan) -> dict[str, Planned]:
    """Return the planned steps of one plan under a key of all that their results depend on."""
    keys: dict[str, str] = {}
    for planned in plan.steps:
        step = planned.step
        inputs = [keys.get(name, name) for name in step.inputs]
        keys[step.name] = digest([step.entry, step.plugin, step.depends, inputs])
    return {keys[planned.step.name]: planned for planned in plan.steps}


def _shared(points: Sequence[PlannedPoint], store: Store) -> tuple[Shared, ...]:
    asked: dict[str, list[int]] = {}
    steps: dict[str, Planned] = {}
    for planned in points:
        steps |= planned.steps
        for key in planned.steps:
            asked.setdefault(key, []).append(planned.point.number)
    history = {
        name: store.history(name) for name in {planned.step.name for planned in steps.values()}
    }
    return tuple(
        Shared(
            planned.step.name,
            planned.step.plugin,
            tuple(asked[key]),
            planned.cached,
            planned.artifact.made_in_s
            if planned.artifact is not None
            else history[planned.step.name].get(planned.step.plugin),
        )
        for key, planned in steps.items()
    )


def spread(points: Sequence[PlannedPoint], lanes: int) -> list[PlannedPoint]:
    """Order points so that those that run side by side in `lanes` wait for each other least.

    Greedy: the next is the one that shares the least work with those that are running just now.
    """
    order: list[PlannedPoint] = []
    left = list(points)
    made = {key for planned in points for key, step in planned.steps.items() if step.cached}
    while left:
        beside = order[len(order) - lanes + 1 :] if lanes > 1 else []
        busy = {key for planned in beside for key in planned.steps} - made
        taken = min(left, key=lambda planned: len(busy & planned.steps.keys()))
        left.remove(taken)
        order.append(taken)
        if len(order) >= lanes:
            made |= order[len(order) - lanes].steps.keys()
    return order


def _refusal(wrong: Sequence[tuple[Combination, LuthierError]], total: int) -> LuthierError:
    """Return one error for all points that are wrong; it shows that of the first in full."""
    first = wrong[0][1]
    if total == 1:
        return first
    counts = Counter(error.what for _, error in wrong)
    others = [f"{what} ({count} points)" for what, count in counts.items() if what != first.what]
    more = [f"and {len(others) - NAMED} more"] if len(others) > NAMED else []
    kind = type(first) if not issubclass(type(first), MisfitError) else ConfigError
    error = kind(
        first.what,
        *first.lines,
        *others[:NAMED],
        *more,
        f"{len(wrong)} of {total} points are not possible; no point was run",
    )
    error.__cause__ = first
    return error
