"""What a search chooses from."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import ConfigError
from core.sweep.grid import MANY
from core.sweep.space import Dimension, space_of


def dimension(argument: str) -> Dimension:
    """Return the only axis of a search."""
    (found,) = space_of([argument]).dimensions
    return found


@pytest.mark.parametrize(
    ("argument", "values"),
    [
        ("a=8,2,4", ("2", "4", "8")),
        ("a=10,9", ("9", "10")),
        ("a=0.5,1e-3,-1", ("-1", "0.001", "0.5")),
        ("a=range(9,1,-4)", ("5", "9")),
        ("a=int8,fp16", ("int8", "fp16")),
        ("a=1,null", ("1", "null")),
    ],
)
def test_numbers_stand_in_their_order_and_words_as_typed(
    argument: str, values: tuple[str, ...]
) -> None:
    """Numbers are sorted, so that neighbours are alike; words stay in their typed order."""
    assert dimension(argument).values == values


def test_numbers_are_drawn_by_place_and_words_by_name() -> None:
    """Numbers are ordered for a sampler (22050 lies between 11025 and 44100); names are not."""
    pytest.importorskip("optuna")
    from optuna.distributions import CategoricalDistribution, IntDistribution

    assert dimension("a=11025,44100,22050").distribution() == IntDistribution(0, 2)
    assert dimension("a=int8,fp16").distribution() == CategoricalDistribution(("int8", "fp16"))


def test_an_interval_is_drawn_between_its_ends() -> None:
    """An interval gives integers with `int`, and is even over the logarithm where tagged."""
    pytest.importorskip("optuna")
    from optuna.distributions import FloatDistribution, IntDistribution

    assert dimension("a=interval(0,0.5)").distribution() == FloatDistribution(0.0, 0.5)
    assert dimension("a=int(interval(2,8))").distribution() == IntDistribution(2, 8)
    log = dimension("a=tag(log,interval(0.001,1))")
    assert log.distribution() == FloatDistribution(0.001, 1.0, log=True)
    whole = dimension("a=tag(log,int(interval(1,1024)))")
    assert whole.distribution() == IntDistribution(1, 1024, log=True)


@pytest.mark.parametrize(
    ("argument", "said"),
    [
        ("a=interval(1,0)", "ends before it starts"),
        ("a=interval(1,1)", "ends before it starts"),
        ("a=interval(nan,1)", "has an end out of range"),
        ("a=interval(0,inf)", "has an end out of range"),
        ("a=interval(-1e308,1e308)", "has an end out of range"),
        ("a=int(interval(0,1e30))", "has an end out of range"),
        ("a=tag(log,interval(0,1))", "reaches 0, which has no logarithm"),
        ("a=tag(log,interval(-2,1))", "reaches -2, which has no logarithm"),
        ("a=1", "nothing is swept"),
        ("a=range(3,3)", "the sweep is empty"),
    ],
)
def test_an_axis_without_an_inside_is_refused(argument: str, said: str) -> None:
    """An axis without an inside is refused before a sampler fails on it."""
    with pytest.raises(ConfigError) as refused:
        space_of([argument])
    assert said in refused.value.what
    assert refused.value.lines


AXES = [
    "a=8,2,4",
    "a=0.25,1e-3",
    "a=int8,'x,y',null",
    "a=range(8192,90112,4096)",
    "a=range(0,1,0.125)",
    "a=int(interval(2,900))",
    "a=interval(-1.5,0.5)",
    "a=tag(log,int(interval(1,1024)))",
    "a=tag(log,interval(0.0001,10))",
]


@given(st.sampled_from(AXES), st.randoms(use_true_random=False))
def test_drawn_is_the_inverse_of_spoken(argument: str, source: random.Random) -> None:
    """A point that ran before enters the study with the values it would have drawn."""
    axis = dimension(argument)
    value = axis.at_random(source)
    assert axis.spoken(axis.drawn(value)) == value


@given(st.sampled_from(AXES), st.randoms(use_true_random=False))
def test_a_value_at_random_lies_on_its_axis(argument: str, source: random.Random) -> None:
    """Random values lie on their axis, because the study refuses all others."""
    pytest.importorskip("optuna")
    axis = dimension(argument)
    drawn = axis.drawn(axis.at_random(source))
    distribution = axis.distribution()
    assert distribution._contains(distribution.to_internal_repr(drawn))


@given(st.integers(min_value=0, max_value=17))
def test_spoken_is_the_inverse_of_drawn(place: int) -> None:
    """Every place of a list is spoken and drawn back to the same place."""
    axis = dimension("a=range(8192,81920,4096)")
    assert axis.drawn(axis.spoken(place)) == place


def test_the_size_is_the_product_of_the_axes() -> None:
    """The size is infinite with a continuous axis, so its points are never listed."""
    assert space_of(["a=1,2,3", "b=x,y", "c=1"]).size == 6
    assert math.isinf(space_of(["a=1,2,3", "b=interval(0,1)"]).size)
    assert not space_of(["a=1,2,3", "b=interval(0,1)"]).listed


def test_points_are_listed_up_to_many() -> None:
    """Spaces up to the limit are listed; points of larger ones are planned when drawn."""
    assert space_of([f"a=range(0,{MANY})"]).listed
    assert not space_of([f"a=range(0,{MANY + 1})"]).listed


def test_points_are_all_combinations() -> None:
    """All combinations are listed, each once."""
    points = list(space_of(["a=2,1", "b=x,y"]).points())
    assert len(points) == 4
    assert {tuple(point.items()) for point in points} == {
        (("a", a), ("b", b)) for a in "12" for b in "xy"
    }


def test_the_corner_is_a_point_of_the_space() -> None:
    """The corner, which represents a space too large to list, is composed like a point."""
    space = space_of(
        ["a=range(0,5000)", "b=int(interval(2,8))", "c=interval(0.5,1)", "d=int8,fp16"]
    )
    assert space.corner() == {"a": "0", "b": "2", "c": "0.5", "d": "int8"}


def test_a_line_has_the_values_of_a_point_and_what_all_share() -> None:
    """A line holds a point's and the shared values in typed order, with deletions."""
    space = space_of(["recipe=toy", "a=1,2", "~host", "b=interval(0,1)"])
    assert space.line({"a": "2", "b": "0.25"}) == ("recipe=toy", "a=2", "~host", "b=0.25")


def test_a_value_that_is_always_refused_leaves_its_axis() -> None:
    """A value that is always refused leaves its axis; one that is refused sometimes stays."""
    space = space_of(["a=1,2,3", "b=x,y"])
    left = space.without([{"a": "3", "b": "x"}, {"a": "3", "b": "y"}, {"a": "2", "b": "y"}])
    assert [axis.values for axis in left.dimensions] == [("1", "2"), ("x", "y")]


def test_a_space_of_which_nothing_is_refused_stays_whole() -> None:
    """A space without refusals keeps the same axes in the same order."""
    space = space_of(["a=1,2,3", "b=x,y"])
    assert space.without([]).axes == space.axes


def test_a_line_without_a_refused_value_still_has_the_key() -> None:
    """An axis that shrank to one value is still on the line."""
    space = space_of(["a=1,2", "b=x,y"]).without([{"a": "2", "b": "x"}, {"a": "2", "b": "y"}])
    assert [space.line(point) for point in space.points()] == [("a=1", "b=x"), ("a=1", "b=y")]


def test_the_axes_of_the_record_say_what_was_searched() -> None:
    """The record holds the axes of the search, an interval by its ends."""
    axes = space_of(["a=8,4", "b=interval(0,0.5)"]).axes
    assert [(axis.key, axis.values) for axis in axes] == [
        ("a", ("4", "8")),
        ("b", ("0 to 0.5",)),
    ]
