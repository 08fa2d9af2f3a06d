"""What no other point of a sweep beats, and which of them is taken."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from core.machine.machine_load import Load
from core.plugin.records import Point, Status, SweepMetric
from core.sweep.pareto import beats, cost, marked, winner

SDR = SweepMetric("sdr", "SDR", "dB", "higher", objective=True)
LATENCY = SweepMetric("latency", "time per window", "ms", "lower", objective=True)
MEMORY = SweepMetric("memory", "peak memory", "MB", "lower", objective=True)
SIZE = SweepMetric("size", "size", "MB", "lower")
FIGURES = (SDR, LATENCY, MEMORY, SIZE)


def point(number: int, status: Status = "done", **figures: float) -> Point:
    """Return a point that measured `figures`."""
    return Point(number, {"a": str(number)}, status, "", figures=figures)


def front(points: Sequence[Point]) -> list[int]:
    """Return the numbers of those on the front."""
    return [one.number for one in marked(points, FIGURES) if one.front]


# Few values, so that many points are equal in some objective; and a figure may be missing.
def measured() -> st.SearchStrategy[dict[str, float]]:
    """Return figures of points, of which many tie."""
    return st.fixed_dictionaries(
        {},
        optional={
            "sdr": st.sampled_from([-3.0, 0.0, 7.9, 8.0, 8.4]),
            "latency": st.sampled_from([0.5, 10.0, 20.0]),
            "memory": st.floats(min_value=1.0, max_value=1000.0),
            "size": st.sampled_from([1.0, 2.0]),
        },
    )


def sweeps(*statuses: Status) -> st.SearchStrategy[list[Point]]:
    """Return the points of a sweep, in any of `statuses`."""
    each = st.tuples(st.sampled_from(statuses), measured())
    return st.lists(each, min_size=1, max_size=12).map(
        lambda found: [point(n, s, **f) for n, (s, f) in enumerate(found, start=1)]
    )


every = sweeps("done", "missed", "refused", "failed", "skipped")
done = sweeps("done")


@given(done)
def test_the_front_of_points_that_ran_is_never_empty(points: list[Point]) -> None:
    """The front is never empty, because some point is beaten by none."""
    assert front(points)


@given(every)
def test_only_points_that_hold_are_on_the_front(points: list[Point]) -> None:
    """Points that missed the contract, or never ran, are off the front."""
    held = {one.number for one in points if one.status == "done"}
    assert set(front(points)) <= held
    assert bool(front(points)) == bool(held)


@given(every)
def test_a_point_is_off_the_front_exactly_where_a_member_beats_it(points: list[Point]) -> None:
    """No member beats another, and every other point that ran is beaten by a member."""
    objectives = [SDR, LATENCY, MEMORY]
    members = [one for one in marked(points, FIGURES) if one.front]
    for one in marked(points, FIGURES):
        beaten = any(beats(member.figures, one.figures, objectives) for member in members)
        if one.status == "done":
            assert one.front != beaten


@given(measured(), measured(), measured())
def test_beating_is_a_strict_order(
    one: Mapping[str, float], two: Mapping[str, float], three: Mapping[str, float]
) -> None:
    """Beating is irreflexive, asymmetric and transitive."""
    objectives = [SDR, LATENCY, MEMORY]
    assert not beats(one, one, objectives)
    assert not (beats(one, two, objectives) and beats(two, one, objectives))
    if beats(one, two, objectives) and beats(two, three, objectives):
        assert beats(one, three, objectives)


@given(every)
def test_marking_changes_nothing_else(points: list[Point]) -> None:
    """Marking keeps order, figures and numbers, and marking twice equals marking once."""
    once = marked(points, FIGURES)
    assert [one.number for one in once] == [one.number for one in points]
    assert marked(once, FIGURES) == once


@given(every, st.booleans())
def test_the_winner_is_on_the_front(points: list[Point], contract: bool) -> None:
    """The winner is on the front, and exists exactly where a point holds."""
    taken, why = winner(points, FIGURES, contract=contract)
    assert why
    assert (taken in front(points)) if front(points) else taken is None


def test_worse_in_one_objective_is_on_the_front_where_it_is_better_in_another() -> None:
    """Slow and good stands beside fast and bad on the front; slow and bad does not."""
    points = [
        point(1, sdr=8.0, latency=20.0, memory=5.0),
        point(2, sdr=6.0, latency=10.0, memory=5.0),
        point(3, sdr=6.0, latency=20.0, memory=5.0),
    ]
    assert front(points) == [1, 2]


def test_what_is_no_objective_does_not_count() -> None:
    """Two points that differ only outside the objectives are both on the front."""
    points = [point(1, sdr=8.0, latency=1.0, size=9.0), point(2, sdr=8.0, latency=1.0, size=1.0)]
    assert front(points) == [1, 2]


def test_what_was_not_measured_is_lost() -> None:
    """A point without a latency is beaten by an equally good one that has it."""
    points = [point(1, sdr=8.0), point(2, sdr=8.0, latency=1e6)]
    assert front(points) == [2]


def test_a_broken_contract_pushes_nothing_off_the_front() -> None:
    """A point that breaks the contract beats no other, however good it is otherwise."""
    points = [point(1, "missed", sdr=9.0, latency=1.0), point(2, sdr=8.0, latency=2.0)]
    assert front(points) == [2]


def test_without_a_contract_the_best_quality_wins() -> None:
    """Without a contract the best quality wins, and the fastest among equals."""
    points = [
        point(1, sdr=8.0, latency=30.0),
        point(2, sdr=8.0, latency=20.0),
        point(3, sdr=6.0, latency=1.0),
    ]
    assert winner(points, FIGURES, contract=False) == (2, "the highest SDR, 8 dB of 3")


def test_with_a_contract_the_fastest_that_holds_wins() -> None:
    """With a contract the fastest point that holds wins, because the quality is settled."""
    points = [
        point(1, sdr=8.0, latency=30.0),
        point(2, sdr=6.0, latency=10.0),
        point(3, "missed", sdr=1.0, latency=1.0),
    ]
    taken, why = winner(points, FIGURES, contract=True)
    assert taken == 2
    assert why == "the lowest time per window, 10 ms of the 2 that hold the contract"


def test_the_time_that_decides_is_told_with_its_spread() -> None:
    """The deciding time is shown with its spread, and with a note if it was under load."""
    spread = {"latency": (9.5, 12.25)}
    one = replace(point(1, sdr=8.0, latency=10.0), spreads=spread, load=Load(1.0, 2, heavy=True))
    _, why = winner([one], FIGURES, contract=True)
    said = "the lowest time per window, 10 ms (9.5 to 12.25, under load) of the 1 that hold"
    assert why.startswith(said)
    _, why = winner([replace(one, load=None)], FIGURES, contract=True)
    assert "10 ms (9.5 to 12.25) of" in why


def test_where_nothing_holds_nobody_wins() -> None:
    """Without a point that holds there is no winner, and the reason names a missed contract."""
    points = [point(1, "missed", sdr=8.0), point(2, "failed")]
    assert winner(points, FIGURES, contract=True) == (None, "no point holds the contract")
    assert winner(points, FIGURES, contract=False) == (None, "no point ran to its end")


def test_figures_that_can_hardly_be_told_apart_cost_the_same() -> None:
    """A step is a hundredth of a decibel, and two per cent of anything else."""
    assert cost({"sdr": 8.001}, SDR) == cost({"sdr": 8.0}, SDR) == -800
    assert cost({"sdr": 8.02}, SDR) == -802
    assert cost({"latency": 100.0}, LATENCY) == cost({"latency": 100.9}, LATENCY)
    assert cost({"latency": 102.0}, LATENCY) == cost({"latency": 100.0}, LATENCY) + 1
    assert cost({"latency": 0.5}, LATENCY) == -35
    assert cost({"latency": 0.0}, LATENCY) == -math.inf
    assert cost({}, LATENCY) == cost({}, SDR) == math.inf
