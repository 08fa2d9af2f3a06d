"""The points of a sweep that no other point beats, and which of them is taken."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

from core.plugin.records import Point, SweepMetric

__all__ = ["beats", "cost", "marked", "winner"]

Figures = Mapping[str, float]

#: The least difference between two figures that counts: in decibels, and as a part of any other.
LEAST_DB, LEAST_PART = 0.01, 0.02


def beats(one: Figures, other: Figures, objectives: Sequence[SweepMetric]) -> bool:
    """Return whether `one` is at least as good in every objective, and better in one.

    This is Pareto dominance, on figures rounded to the least difference that counts. Otherwise a
    point that is better by a millionth of a decibel would be on the front. A point loses in a
    figure that it did not measure.
    """
    pairs = [(cost(one, o), cost(other, o)) for o in objectives]
    return all(a <= b for a, b in pairs) and any(a < b for a, b in pairs)


def marked(points: Sequence[Point], figures: Sequence[SweepMetric]) -> tuple[Point, ...]:
    """Return the points with `front` set where no other that ran beats them.

    A point that broke its contract can neither be on the front nor push another off it.
    """
    objectives = [figure for figure in figures if figure.objective]
    running = [point for point in points if point.status == "done"]
    return tuple(
        replace(
            point,
            front=point in running
            and not any(beats(other.figures, point.figures, objectives) for other in running),
        )
        for point in points
    )


def winner(
    points: Sequence[Point], figures: Sequence[SweepMetric], *, contract: bool
) -> tuple[int | None, str]:
    """Return the number of the point to take, and why.

    With a contract the quality is settled, so the fastest of those that hold it is taken. Without
    one, the best quality is; between equals, the fastest.
    """
    done = [point for point in points if point.status == "done"]
    objectives = [figure for figure in figures if figure.objective]
    if not done or not objectives:
        return None, "no point holds the contract" if contract else "no point ran to its end"
    quality, *costs = objectives
    order = [*costs, quality] if contract and costs else [quality, *costs]
    taken = min(done, key=lambda point: [cost(point.figures, o) for o in order])
    first = order[0]
    adjective = {"higher": "highest", "lower": "lowest"}[first.better]
    said = f"the {adjective} {first.title}"
    if first.name in taken.figures:
        said += f", {taken.figures[first.name]:.4g} {first.unit}".rstrip()
    if first.name in taken.spreads:
        low, high = taken.spreads[first.name]
        said += f" ({low:.4g} to {high:.4g}{', under load' if taken.under_load else ''})"
    held = f" of the {len(done)} that hold the contract" if contract else f" of {len(done)}"
    return taken.number, said + held


def cost(figures: Figures, objective: SweepMetric) -> float:
    """Return a figure as a number of steps, the fewer the better; inf if not measured.

    A step is `LEAST_DB` of decibels, and `LEAST_PART` of anything else that is above zero.
    """
    value = figures.get(objective.name)
    if value is None:
        return math.inf
    if objective.unit == "dB":
        steps = value / LEAST_DB
    else:
        steps = math.log(value) / math.log1p(LEAST_PART) if value > 0 else -math.inf
    rounded = round(steps) if math.isfinite(steps) else steps
    return -rounded if objective.better == "higher" else rounded
