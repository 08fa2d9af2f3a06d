"""The overrides of a sweep, expanded into its points."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import ConfigError
from core.plugin.records import Axis
from core.sweep.grid import expand
from core.sweep.space import space_of
from tests.conftest import Command


def lines(*arguments: str) -> list[tuple[str, ...]]:
    """Return the overrides of every point."""
    return [point.overrides for point in expand(arguments, confirmed=False).points]


def test_the_last_axis_is_the_fastest() -> None:
    """Points that share the first axes, and so their first stages, are neighbours."""
    grid = expand(["a=1,2", "b=x,y"], confirmed=False)
    assert grid.axes == (Axis("a", ("1", "2")), Axis("b", ("x", "y")))
    assert [point.values for point in grid.points] == [
        {"a": "1", "b": "x"},
        {"a": "1", "b": "y"},
        {"a": "2", "b": "x"},
        {"a": "2", "b": "y"},
    ]
    assert [point.number for point in grid.points] == [1, 2, 3, 4]


def test_what_is_not_swept_is_on_every_line_and_no_axis() -> None:
    """Options that are not swept are on the line of every point, and are no axis."""
    grid = expand(["recipe=toy", "a=1,2"], confirmed=False)
    assert [axis.key for axis in grid.axes] == ["a"]
    assert [point.values for point in grid.points] == [{"a": "1"}, {"a": "2"}]
    assert lines("recipe=toy", "a=1,2") == [("recipe=toy", "a=1"), ("recipe=toy", "a=2")]


def test_nothing_swept_is_one_point() -> None:
    """`-m` without a comma runs the same as without `-m`."""
    assert lines("recipe=toy") == [("recipe=toy",)]
    assert lines() == [()]


@pytest.mark.parametrize("deleted", ["~host", "~runtime@host", "~host=plain"])
def test_a_deletion_stands_as_it_was_typed(deleted: str) -> None:
    """A deletion keeps its form: `~host=` would delete only a host of the name ""."""
    assert lines(deleted, "a=1,2") == [(deleted, "a=1"), (deleted, "a=2")]


def test_an_empty_slot_is_a_deletion_of_its_choice() -> None:
    """An empty slot becomes a deletion, as Hydra demands; an empty option stays null."""
    assert lines("runtime@host=null,plain") == [("~runtime@host",), ("runtime@host=plain",)]
    assert lines("chunker.length=null,4") == [("chunker.length=null",), ("chunker.length=4",)]


@pytest.mark.parametrize(
    ("argument", "values"),
    [
        ("a=1,2", ["1", "2"]),
        ("a='x,y','z'", ["'x,y'", "'z'"]),
        ("a='',b", ["''", "b"]),
        (r"a=kill\ once,b", [r"kill\ once", "b"]),
        ("a=[1,2],[3]", ["[1,2]", "[3]"]),
        ("a={x:1},{x:2}", ["{x:1}", "{x:2}"]),
        ("a=null,1", ["null", "1"]),
        ("a=choice(1,2)", ["1", "2"]),
        ("a=range(1,4)", ["1", "2", "3"]),
        ("a=range(8,2,-3)", ["8", "5"]),
        ("a=range(0,1,0.5)", ["0.0", "0.5"]),
        ("dataset@calibration=x,y", ["x", "y"]),
        ("+a=1,2", ["1", "2"]),
        ("++a=1,2", ["1", "2"]),
    ],
)
def test_every_value_is_one_that_a_command_line_takes(argument: str, values: list[str]) -> None:
    """Quotes, brackets and slots are kept, and a line that is typed again is one point.

    Reports build their commands from these values.
    """
    (axis,) = expand([argument], confirmed=False).axes
    assert list(axis.values) == values
    for line in lines(argument):
        assert lines(*line) == [line]


@pytest.mark.parametrize(
    ("argument", "values"),
    [("a=1,1,2", ("1", "2")), ("a=1e-3,0.001", ("0.001",)), ("a=b,c,b", ("b", "c"))],
)
def test_a_value_that_is_given_twice_is_one_point(argument: str, values: Sequence[str]) -> None:
    """Equal values, in any spelling of a number, give one point, at their first place."""
    assert expand([argument], confirmed=False).axes[0].values == values


def test_a_key_that_is_given_twice_is_refused_with_both() -> None:
    """Both occurrences of a key are in the error, since Hydra would use only the last."""
    with pytest.raises(ConfigError, match="`a` is given twice") as refused:
        expand(["a=1,2", "b=1", "a=3"], confirmed=False)
    assert "at: a=1,2" in refused.value.lines
    assert "at: a=3" in refused.value.lines


def test_two_slots_of_one_group_are_two_keys() -> None:
    """`dataset` and `dataset@calibration` are two keys with separate choices."""
    assert len(lines("dataset=x,y", "dataset@calibration=x,y")) == 4


@pytest.mark.parametrize(
    ("argument", "said"),
    [
        ("a=range(3,3)", "the sweep is empty: `a=range"),
        ("a=range(1,3,-1)", "the sweep is empty"),
        ("a=interval(0,1)", "names an interval, which no grid can run through"),
    ],
)
def test_an_axis_that_no_grid_can_run_through_is_refused(argument: str, said: str) -> None:
    """The error for an impossible axis says what to write instead."""
    with pytest.raises(ConfigError) as refused:
        expand([argument], confirmed=False)
    assert said in refused.value.what
    assert refused.value.lines


def test_many_points_are_counted_by_axis_before_one_is_made() -> None:
    """Axes are counted first, because ten thousand million points would fill the memory."""
    with pytest.raises(ConfigError) as refused:
        expand(["a=range(0,100000)", "b=range(0,100000)", "c=1"], confirmed=False)
    assert refused.value.what == "the sweep has 10,000,000,000 points"
    assert refused.value.lines[:2] == ("a: 100000 values", "b: 100000 values")


def test_many_points_run_when_confirmed() -> None:
    """One point above the limit runs when confirmed."""
    assert len(expand(["a=range(0,1001)"], confirmed=True).points) == 1001
    assert len(expand(["a=range(0,1000)"], confirmed=False).points) == 1000


@pytest.mark.parametrize(
    ("argument", "said"),
    [
        ("a=range(0,1e9)", "has 1,000,000,000 points along `a` alone"),
        ("a=range(0,1,1e-12)", "points along `a` alone"),
        ("a=range(1e9,0,-1)", "points along `a` alone"),
        ("a=range(1e30,1e31)", "some 10^3"),
        ("a=shuffle(range(0,1e9))", "points along `a` alone"),
        ("a=sort(range(0,1e9))", "points along `a` alone"),
        ("a=tag(x,range(0,1e9))", "points along `a` alone"),
        ("a=float(range(0,1000000000))", "points along `a` alone"),
        ("+a=range(0,1e9)", "points along `+a` alone"),
        ("a=range(0,inf)", "has no end"),
        ("a=range(nan,1)", "has no end"),
        ("a=range(0,1,0)", "has no end"),
        ("a=range(0.0,1.0,0.0)", "has no end"),
        ("a=int(range(0,1,0.5))", "has no end"),
        (f"a=range(0,{'9' * 3000})", "has no end"),
        (f"a=range(0,{'9' * 5000})", "too long a number"),
        (f"a={'[' * 1000}{']' * 1000}", "nested too deeply"),
    ],
)
@pytest.mark.parametrize("read", [lambda a: expand(a, confirmed=True), space_of])
def test_a_range_that_nobody_could_list_is_counted_and_not_listed(
    argument: str, said: str, read: Callable[[Sequence[str]], object]
) -> None:
    """A range of a billion values is never listed, confirmed or not, in grid or search."""
    with pytest.raises(ConfigError) as refused:
        read([argument])
    assert said in refused.value.what
    assert all(len(line) < 6000 for line in refused.value.lines)


@pytest.mark.parametrize("axes", [31, 310])
def test_many_axes_of_few_values_are_counted_and_not_listed(axes: int) -> None:
    """Many axes have a huge product, which a grid refuses and a search accepts."""
    arguments = [f"a{index}=0,1,2,3,4,5,6,7,8,9" for index in range(axes)]
    with pytest.raises(ConfigError) as refused:
        expand(arguments, confirmed=True)
    assert refused.value.what == f"the sweep has some 10^{axes} points"
    assert f"and {axes - 10} more" in refused.value.lines
    assert space_of(arguments).size == 10**axes
    assert space_of([*arguments, "x=interval(0,1)"]).size == math.inf


@given(
    start=st.one_of(st.integers(-(10**12), 10**12), st.floats(-1e12, 1e12)),
    span=st.integers(0, 40),
    step=st.sampled_from([1, 2, 3, 0.5, 0.25, -1, -0.5]),
)
def test_values_are_counted_as_they_are_listed(start: float, span: int, step: float) -> None:
    """The count of a range always equals the number of its listed values."""
    argument = f"a=range({start},{start + span * step},{step})"
    try:
        listed = len(expand([argument], confirmed=True).points)
    except ConfigError as error:
        listed = 0
        assert "the sweep is empty" in error.what  # noqa: PT017  # only one that is
    assert listed <= span + 1


@pytest.mark.parametrize("sweeper", ["grid", "optuna"])
def test_a_glob_is_the_choices_of_a_group(command: Command, recipe: Path, sweeper: str) -> None:
    """A glob gives the choices of a group, without those that recipes keep for internal use."""
    swept = ("chunker=glob([even,_*])", f"hydra/sweeper={sweeper}")
    done = command("-m", f"recipe={recipe}", *swept, "mode=plan")
    assert done.code == 0, done.err
    assert done.out.startswith("sweep of 1 point")


@pytest.mark.parametrize("argument", ["target=glob(sch*)", "chunker.length=glob(*)"])
def test_a_glob_that_matches_nothing_is_an_empty_sweep(
    command: Command, recipe: Path, argument: str
) -> None:
    """A glob matches no schema of a group, and an option has no choices."""
    done = command("-m", f"recipe={recipe}", argument, "mode=plan")
    assert done.code == 2
    assert f"the sweep is empty: `{argument}`" in done.err
