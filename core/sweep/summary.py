"""Turns the results of all points into the record of the sweep."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from core.config.arguments import command
from core.machine.environment import machine, versions
from core.plugin.records import Axis, Point, SweepRecord, compiled_only
from core.sweep.folder import name_of
from core.sweep.metrics import catalogue
from core.sweep.pareto import marked, winner

if TYPE_CHECKING:
    from core.config.recipes import Recipe
    from core.plan.plan import Plan
    from core.sweep.grid import Combination
    from core.sweep.messages import PointResult

__all__ = ["recorded"]

#: Arguments that say how a sweep runs, and not what a point is.
HOW = ("hydra.", "hydra/", "sweep.")
#: How the notice of a sweep over windows begins; the best windows follow.
COMPARED = "quality is compared with FP32 PyTorch in"
#: Points that a line names.
NAMED = 10


def recorded(
    first: Plan,
    axes: tuple[Axis, ...],
    points: Sequence[tuple[Combination, PointResult]],
    arguments: Sequence[str],
    recipes: Mapping[str, Recipe],
    started: str,
    seconds: float,
    objectives: Sequence[str] = (),
    *,
    windows: bool = False,
    against: Sequence[str] = (),
) -> SweepRecord:
    """Return the record of a sweep; `objectives` replace the usual ones where they are given.

    `windows` says that the windows of the points differ, and `against` with which of them quality
    is compared.
    """
    known = {name for _, result in points for name in result.figures}
    figures = catalogue([result.metrics for _, result in points], known, windows=windows)
    if objectives:
        named = {figure.name: figure for figure in figures}
        figures = (
            *(dataclasses.replace(named.pop(n), objective=True) for n in objectives if n in named),
            *(dataclasses.replace(figure, objective=False) for figure in named.values()),
        )
    pipeline = first.pipeline
    made = marked([_point(point, result, recipes) for point, result in points], figures)
    taken, why = winner(made, figures, contract=bool(pipeline.contract))
    return SweepRecord(
        recipe=pipeline.recipe,
        title=pipeline.title,
        command=command(["-m", *arguments], recipes),
        started=started,
        seconds=seconds,
        axes=axes,
        figures=figures,
        points=made,
        winner=taken,
        why=why,
        machine=machine(),
        versions=versions(),
        contract={limit.name: limit.bound for limit in pipeline.contract},
        notices=(
            *_notices(first, [result for _, result in points]),
            *(f"{COMPARED} {said}, the best of this sweep" for said in against),
            *_loaded(made),
        ),
    )


def _point(point: Combination, result: PointResult, recipes: Mapping[str, Recipe]) -> Point:
    again = [override for override in point.overrides if not override.startswith(HOW)]
    return Point(
        number=point.number,
        values=point.values,
        status=result.status,
        command=command(again, recipes),
        why=result.why,
        figures={name: value for name, (value, _) in result.figures.items()},
        devices={name: device for name, (_, device) in result.figures.items()},
        folder=name_of(point.values) if result.placed else "",
        ran=result.ran,
        cached=result.cached,
        seconds=result.seconds,
        spreads=result.spreads,
        load=result.load,
    )


def _loaded(points: Sequence[Point]) -> list[str]:
    """Return which points were timed under load, for their times are too long."""
    loaded = [point for point in points if point.under_load]
    loads = [point.load for point in loaded if point.load is not None]
    if not loads:
        return []
    most = max(loads, key=lambda load: load.others)
    numbers = ", ".join(str(point.number) for point in loaded[:NAMED])
    more = f" and {len(loaded) - NAMED} more" if len(loaded) > NAMED else ""
    few = "point" if len(loaded) == 1 else "points"
    return [f"measured under load, so that times are too long: {few} {numbers}{more} ({most.said})"]


def _notices(first: Plan, result: Sequence[PointResult]) -> tuple[str, ...]:
    """Return what a person must know before reading the figures."""
    damaged = tuple(dict.fromkeys(line for one in result for line in one.damaged))
    target = first.pipeline.target.title
    ran = [one for one in result if one.status in ("done", "missed")]
    if target and ran and not any(one.on_target for one in ran):
        absent = f"{target} took no part in this sweep: no number here was measured on it"
        damaged = (absent, *damaged)
    whys = dict.fromkeys(one.never_run for one in ran if one.never_run)
    return (*map(compiled_only, whys), *damaged)
