"""Guesses which point that did not run is most likely on the front."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence

from hypothesis import given, settings
from hypothesis import strategies as st

from core.sweep.pareto_sampler import likeliest
from core.sweep.space import space_of

LENGTHS, PRECISIONS = ("11025", "22050", "44100", "88200"), ("fp32", "fp16", "int8", "w8a16")
SPACE = space_of([f"length={','.join(LENGTHS)}", f"precision={','.join(PRECISIONS)}"])
POINTS = list(SPACE.points())


def costs(point: dict[str, str]) -> tuple[float, float]:
    """Return a quality and a time that mostly add up over the axes, in steps."""
    long, precision = LENGTHS.index(point["length"]), PRECISIONS.index(point["precision"])
    loss = (0, 1, 30, 12)[precision] - 10 * math.sqrt(long)
    time = (20, 0, 30, 35)[precision] + 18 * long + (precision == 2) * long
    return round(loss), round(time)


def front(points: Sequence[tuple[float, float]]) -> set[int]:
    """Return which no other beats."""
    return {
        index
        for index, one in enumerate(points)
        if not any(a <= one[0] and b <= one[1] and (a, b) != one for a, b in points)
    }


@settings(max_examples=25)
@given(st.sets(st.integers(0, len(POINTS) - 1), min_size=1), st.integers(0, 2**31))
def test_a_guess_is_a_point_that_did_not_run(ran: set[int], seed: int) -> None:
    """A guess is a point that did not run; None where all ran."""
    seen = {index: costs(POINTS[index]) for index in sorted(ran)}
    found = likeliest(SPACE.dimensions, POINTS, seen, sorted(ran), seed)
    if len(ran) == len(POINTS):
        assert found is None
    else:
        assert found is not None
        assert found in set(range(len(POINTS))) - ran


def test_a_point_that_measured_nothing_is_not_guessed_again() -> None:
    """A failed or running point is not guessed again, and its result counts as unknown."""
    out = list(range(1, len(POINTS)))
    assert likeliest(SPACE.dimensions, POINTS, {1: (0.0, 0.0)}, out, 0) == 0


def test_the_same_seed_guesses_the_same() -> None:
    """The same seed gives the same guesses, so that a resumed search draws the same."""
    seen = {index: costs(POINTS[index]) for index in (0, 6, 11)}
    guesses = {likeliest(SPACE.dimensions, POINTS, seen, list(seen), 7) for _ in range(3)}
    assert len(guesses) == 1


def test_equal_figures_are_no_division_by_zero() -> None:
    """Points with equal figures cause no division by zero and exclude no others."""
    seen = {0: (5.0, 5.0), 1: (5.0, 5.0), 2: (5.0, 5.0)}
    assert likeliest(SPACE.dimensions, POINTS, seen, [0, 1, 2], 0) not in (None, 0, 1, 2)


def test_ten_of_sixteen_points_have_most_of_the_front() -> None:
    """Ten of sixteen points find more of the front than random points, which find five eighths."""
    every = [costs(point) for point in POINTS]
    best = front(every)
    assert len(best) == 5
    found = 0
    for seed in range(8):
        start = random.Random(seed).sample(range(len(POINTS)), 2)  # noqa: S311  # draws points
        seen = {index: every[index] for index in start}
        while len(seen) < 10:
            guess = likeliest(SPACE.dimensions, POINTS, seen, list(seen), seed)
            assert guess is not None
            seen[guess] = every[guess]
        found += len(best & seen.keys())
    assert found / 8 > 0.8 * len(best)
