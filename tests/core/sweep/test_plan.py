"""Every point of a sweep planned before the first runs, and what they share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core import Artifact, StageContext, StageResult
from core.config import limits
from core.plan.plan import Planned
from core.steps.step import Inputs, Step
from core.sweep.grid import Combination
from core.sweep.plan import PlannedPoint, Shared, SweepPlan, spread
from tests.conftest import Command

Planner = Callable[..., SweepPlan]


@pytest.fixture
def plan_of(command: Command, recipe: Path, monkeypatch: pytest.MonkeyPatch) -> Planner:
    """Return a function that plans a sweep of the toy recipe, through the command line."""
    plans: list[SweepPlan] = []
    monkeypatch.setattr("core.sweep.show_plan.show", lambda plan, *_: plans.append(plan))

    def planned(*swept: str) -> SweepPlan:
        done = command("-m", f"recipe={recipe}", *swept, "mode=plan")
        assert done.code == 0, done.err
        return plans[-1]

    return planned


def by_name(plan: SweepPlan, name: str) -> list[Shared]:
    """Return the work of one step."""
    return [shared for shared in plan.shared if shared.name == name]


def test_a_step_is_shared_by_the_points_that_its_result_does_not_tell_apart(
    plan_of: Planner,
) -> None:
    """Points with the same result of a step share it, even before its inputs are made."""
    plan = plan_of("chunker.length=4,8", "quantizer.loss=0.0,0.1")
    assert [shared.points for shared in by_name(plan, "model")] == [(1, 2, 3, 4)]
    assert [shared.points for shared in by_name(plan, "reference")] == [(1, 2), (3, 4)]
    assert [shared.points for shared in by_name(plan, "quantizer")] == [(1,), (2,), (3,), (4,)]
    assert not any(shared.cached for shared in plan.shared)


def test_a_step_is_not_shared_where_only_what_goes_in_differs(plan_of: Planner) -> None:
    """Steps with different inputs are not shared, even where their own options are equal."""
    plan = plan_of("chunker.length=4", "quantizer.loss=0.0,0.1")
    assert [shared.points for shared in by_name(plan, "runtime")] == [(1,), (2,)]


def test_a_point_is_another_where_it_is_judged_otherwise(
    plan_of: Planner, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By another bound, say; not where a limit is told in other words."""

    def keys(bound: str) -> list[str]:
        plan = plan_of("quantizer.loss=0.0,0.1", f"contract.min_snr_db={bound}")
        return [point.key for point in plan.points]

    before = keys("1")
    assert keys("2") != before
    told = replace(limits.OWN["min_snr_db"], about="other words")
    monkeypatch.setattr(limits, "OWN", {**limits.OWN, "min_snr_db": told})
    assert keys("1") == before


def test_what_the_store_has_is_kept(plan_of: Planner, command: Command, recipe: Path) -> None:
    """Results in the store are kept, with their time, which serves to estimate the rest."""
    assert command(f"recipe={recipe}", "chunker.length=4").code == 0
    plan = plan_of("chunker.length=4,8")
    (model,) = by_name(plan, "model")
    assert model.cached
    four, eight = by_name(plan, "reference")
    assert (four.points, four.cached) == ((1,), True)
    assert (eight.points, eight.cached) == ((2,), False)
    assert eight.seconds == four.seconds
    assert four.seconds is not None


def test_the_key_of_a_point_is_of_all_that_its_result_depends_on(plan_of: Planner) -> None:
    """A point's key covers contract and reporters, but not its number or other points."""

    def keys(*swept: str) -> dict[str, str]:
        plan = plan_of(*swept)
        return {one.point.values.get("chunker.length", ""): one.key for one in plan.points}

    two = keys("chunker.length=4,8")
    assert two["4"] != two["8"]
    more = keys("chunker.length=8,6,4")
    assert (more["4"], more["8"]) == (two["4"], two["8"])
    for other in ("contract.min_snr_db=30", "reporter=[json,html]", "quantizer.loss=0.1"):
        assert keys("chunker.length=4,8", other)["4"] != two["4"]


def test_what_does_not_fit_is_refused_and_the_others_are_planned(plan_of: Planner) -> None:
    """A precision that a target does not run is refused, and the other points are planned."""
    plan = plan_of("target=cpu,s24")
    assert [one.refused is None for one in plan.points] == [True, False]
    assert plan.first is plan.points[0].plans[0]


def test_wrong_values_are_told_together(command: Command, recipe: Path) -> None:
    """The first wrong value is shown in full, the others by kind and number."""
    wrong = [f"length{n}" for n in range(3)]
    done = command(
        "-m", f"recipe={recipe}", f"chunker.length=4,{','.join(wrong)}", "dataset=ramp,rump"
    )
    assert done.code == 2
    assert "`chunker.length` cannot be `length0`" in done.err
    assert "`chunker.length` cannot be `length2` (" in done.err
    assert "no dataset is named `rump`" in done.err
    assert "7 of 8 points are not possible; no point was run" in done.err


def _run(inputs: Inputs, work: StageContext) -> StageResult:
    raise AssertionError(f"a plan runs nothing: {inputs} {work}")


def point(number: int, *steps: str, kept: bool = False) -> PlannedPoint:
    """Return a point that asks for `steps`."""
    artifact = Artifact("", "", "torch", "fp32", "", 0) if kept else None
    planned = {name: Planned(Step(name, "", "toy", (), {}, _run), artifact, "") for name in steps}
    return PlannedPoint(
        Combination(number, {"a": str(number)}, ()), "toy", (), None, str(number), planned
    )


sweeps = st.lists(st.sets(st.sampled_from("abcdefg")), max_size=9).map(
    lambda found: [point(number, *sorted(steps)) for number, steps in enumerate(found, start=1)]
)


@given(sweeps, st.integers(min_value=1, max_value=4))
def test_spreading_leaves_no_point_out_and_doubles_none(
    points: list[PlannedPoint], lanes: int
) -> None:
    """Every point comes exactly once, whatever the points share."""
    order = spread(points, lanes)
    assert sorted(one.point.number for one in order) == [one.point.number for one in points]


@given(sweeps)
def test_points_in_turn_stay_in_turn(points: list[PlannedPoint]) -> None:
    """Points in turn keep their order, since each finds the results of the one before."""
    assert spread(points, 1) == points


def test_points_side_by_side_are_those_that_share_least() -> None:
    """Points that share least run side by side, because equal steps wait for each other."""
    points = [point(1, "a"), point(2, "a"), point(3, "b"), point(4, "b")]
    assert [one.point.number for one in spread(points, 2)] == [1, 3, 2, 4]


def test_what_the_store_has_keeps_no_points_apart() -> None:
    """Results in the store keep no points apart, because nobody waits for them."""
    points = [point(1, "a", kept=True), point(2, "a", kept=True), point(3, "b")]
    assert [one.point.number for one in spread(points, 2)] == [1, 2, 3]
