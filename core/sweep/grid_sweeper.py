"""Hydra's sweeper over every combination of values: `-m key=a,b other=1,2`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from core.sweep.grid import Combination, expand
from core.sweep.sweeper import LuthierSweeper
from core.sweep.windows import comparison

if TYPE_CHECKING:
    from core.plugin.records import Axis
    from core.sweep.launch import Launch
    from core.sweep.messages import PointResult
    from core.sweep.plan import SweepPlan

__all__ = ["GridSweeper"]


class GridSweeper(LuthierSweeper):
    """Runs every combination."""

    def points(self, arguments: Sequence[str]) -> tuple[tuple[Axis, ...], Sequence[Combination]]:
        """Return the whole grid."""
        grid = expand(
            arguments,
            confirmed=self.settings.confirm,
            loader=self.hydra_context.config_loader,
        )
        return grid.axes, grid.points

    def run_points(
        self, plan: SweepPlan, place: Path, launch: Launch
    ) -> list[tuple[Combination, PointResult]]:
        """Run the points that are missing, and take the rest from an earlier start of the sweep.

        If one point runs at a time, the order is that of the grid: points that share work are
        neighbours. Else core/sweep/plan.py orders them, so that they wait for each other least. If
        windows differ, the best of them are found first.
        """
        self.comparison = comparison(plan.points, place, launch)
        points = [self.comparison.of(planned) for planned in plan.points]
        return launch.all(points, place, total=len(points))
