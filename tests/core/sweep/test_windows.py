"""What the points of a sweep over windows are compared with: FP32 in the best of them."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from core import Metric
from core.plan.plan import Plan
from core.sweep.messages import PointResult
from core.sweep.plan import PlannedPoint
from core.sweep.windows import (
    Comparison,
    _apart,
    _best,
    _option,
    _written,
    compares,
    differ,
)
from tests.conftest import RECIPE, Command
from tests.toy import Even, EvenOptions, Gain, GainOptions

LIMIT = "contract.max_near_drop_db=0.1"
EDGE = ("model.edge=0.2", "evaluator=[near]")


def record(tmp_path: Path) -> dict[str, Any]:
    """Return the record of the only sweep."""
    (file,) = tmp_path.glob("outputs/toy/sweep-*/sweep.json")
    return dict(json.loads(file.read_text()))


def test_a_window_that_costs_more_than_the_limit_does_not_hold(
    command: Command, recipe: Path, tmp_path: Path
) -> None:
    """A window misses the limit against the best windows, even without loss in its own."""
    swept = ("chunker.length=4,10", "quantizer.loss=0.0,0.0001")
    done = command("-m", f"recipe={recipe}", *EDGE, *swept, LIMIT)
    assert (done.code, done.err) == (0, "")
    found = record(tmp_path)
    points = {tuple(point["values"].values()): point for point in found["points"]}
    held = {values: point["status"] for values, point in points.items()}
    assert held == {
        ("4", "0.0"): "missed", ("4", "0.0001"): "missed",
        ("10", "0.0"): "done", ("10", "0.0001"): "done",
    }  # fmt: skip
    assert "against FP32 PyTorch with windows of 10 along place," in points["4", "0.0"]["why"]
    assert "for first of line on" in points["4", "0.0"]["why"]
    assert "lost by chunk: " in points["4", "0.0"]["why"]
    assert points["10", "0.0"]["figures"]["near_drop"] == 0
    assert points["4", "0.0"]["figures"]["near_drop"] > 1
    assert points["4", "0.0"]["figures"]["snr"] < 40
    said = "quality is compared with FP32 PyTorch in windows of 10 along place, the best of this"
    assert f"{said} sweep" in found["notices"]
    again = shlex.split(points["4", "0.0"]["command"])[3:]
    done = command(*again)
    assert done.code == 3
    assert points["4", "0.0"]["why"] in done.err


@pytest.mark.long
def test_a_ladder_in_a_sweep_over_windows_is_judged_alike(command: Command, tmp_path: Path) -> None:
    """A short window misses the limit with every precision of a ladder."""
    left_out = ("quantizer", "runtime", "host")
    lines = [line for line in RECIPE.splitlines() if line.partition(":")[0] not in left_out]
    recipe = tmp_path / "toy.yaml"
    recipe.write_text("\n".join([*lines, "target: pocket", "precision: fine", ""]))
    swept = ("chunker.length=4,10", "ladder=[rough,fine]")
    done = command("-m", f"recipe={recipe}", *EDGE, *swept, LIMIT)
    assert (done.code, done.err) == (0, "")
    assert [point["status"] for point in record(tmp_path)["points"]] == ["missed", "done"]
    (report,) = tmp_path.glob("outputs/toy/sweep-*/length-4/report.json")
    results = json.loads(report.read_text())["candidates"]
    assert [result["status"] for result in results] == ["missed", "missed"]


def test_where_all_points_have_the_same_windows_nothing_is_played_before(
    command: Command, recipe: Path, tmp_path: Path
) -> None:
    """With equal windows, each point is compared with FP32 in its own, as in a run by itself."""
    done = command("-m", f"recipe={recipe}", *EDGE, "quantizer.loss=0.0,0.01", LIMIT)
    assert (done.code, done.err) == (0, "")
    assert "FP32 in" not in done.out
    points = record(tmp_path)["points"]
    assert all("measure.against" not in point["command"] for point in points)
    names = [figure["name"] for figure in record(tmp_path)["figures"] if figure["objective"]]
    assert names == ["near", "latency", "memory"]


@pytest.mark.long
def test_times_of_different_windows_are_counted_per_input(
    command: Command, recipe: Path, tmp_path: Path
) -> None:
    """Items without a duration are timed per input; the repeated sweep plays nothing."""
    arguments = ("-m", f"recipe={recipe}", "chunker.length=4,10")
    done = command(*arguments)
    assert (done.code, done.err) == (0, "")
    assert done.out.count("FP32 in windows of") == 4
    found = record(tmp_path)
    names = [figure["name"] for figure in found["figures"] if figure["objective"]]
    assert names == ["snr", "time_per_input", "memory"]
    for point in found["points"]:
        low, high = point["spreads"]["time_per_input"]
        assert low <= point["figures"]["time_per_input"] <= high
    assert "..." not in command(*arguments).out


def test_the_plan_says_what_points_will_be_compared_with(command: Command, recipe: Path) -> None:
    """The plan names the windows of the comparison only where windows differ."""
    done = command("-m", f"recipe={recipe}", "chunker.length=4,10", "mode=plan")
    assert "windows differ: FP32 PyTorch plays with each of them first" in done.out
    done = command("-m", f"recipe={recipe}", "quantizer.loss=0.0,0.1", "mode=plan")
    assert "windows differ" not in done.out


@pytest.mark.long
def test_a_search_compares_with_a_few_of_its_windows(
    command: Command, recipe: Path, tmp_path: Path
) -> None:
    """A search compares with a few windows, the longest among them, also between two ends."""
    pytest.importorskip("optuna")
    search = ("hydra/sweeper=optuna", "hydra.sweeper.n_trials=1", "hydra.sweeper.seed=3")
    swept = "chunker.length=int(interval(4,10))"
    done = command("-m", f"recipe={recipe}", *EDGE, swept, *search)
    assert (done.code, done.err) == (0, "")
    assert done.out.count("FP32 in windows of") == 8
    (point,) = record(tmp_path)["points"]
    assert "measure.against={plugin:even,length:10,overlap:0}" in point["command"]


def test_a_point_may_say_itself_what_it_is_compared_with(
    command: Command, recipe: Path, tmp_path: Path
) -> None:
    """A point is compared with its own `measure.against`, and no other windows are played."""
    named = "measure.against={plugin:even,length:20}"
    done = command("-m", f"recipe={recipe}", *EDGE, "chunker.length=4,10", named)
    assert (done.code, done.err) == (0, "")
    assert "FP32 in" not in done.out
    drops = [point["figures"]["near_drop"] for point in record(tmp_path)["points"]]
    assert drops[0] > drops[1] > 1


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("{length:4}", ["`measure.against` names no plugin", "even"]),
        ("{plugin:evn}", ["evn", "even"]),
        ("{plugin:even,lenght:4}", ["no option `lenght`", "did you mean `length`"]),
        ("{plugin:even,length:long}", ["`measure.against` is not valid", "long"]),
    ],
)
def test_what_cannot_be_compared_with_is_refused(
    command: Command, recipe: Path, given: str, said: list[str]
) -> None:
    """An impossible comparison ends in exit code 2 with the possible values."""
    done = command(f"recipe={recipe}", f"measure.against={given}")
    assert done.code == 2, done.err
    for words in said:
        assert words in done.err


def planned(length: int, model: str = "one") -> PlannedPoint:
    """Return a point with windows of a length."""
    pipeline = SimpleNamespace(
        chunker=Even(EvenOptions(length)), model=Gain(GainOptions(float(len(model)))), against=None
    )
    context = SimpleNamespace(depends_on_items={})
    plan = SimpleNamespace(pipeline=pipeline, context=context)
    return cast("PlannedPoint", SimpleNamespace(plans=(plan,)))


def rated(near: float | None, snr: float) -> PointResult:
    """Return what FP32 had in some windows: quality, and nearness to the training's windows."""
    metrics = () if near is None else (Metric("near", near, "dB", "CPU", "a", better="higher"),)
    return PointResult("done", figures={"snr": (snr, "CPU")}, metrics=metrics)


@pytest.mark.parametrize(
    ("found", "best"),
    [
        ([(4, rated(10.0, 20.0)), (8, rated(10.3, 15.0)), (16, rated(10.2, 200.0))], 8),
        # A thousandth of a decibel is no difference: the nearest to the training's windows is.
        ([(4, rated(10.301, 20.0)), (8, rated(10.3, 30.0))], 8),
        ([(4, rated(None, 20.0)), (8, rated(None, 200.0)), (16, rated(None, 19.0))], 8),
        # A model that does not say how it was trained is the same in all windows: the longest.
        ([(4, rated(None, 200.0)), (16, rated(None, 200.0)), (8, rated(None, 200.0))], 16),
        # What was not measured of all compares nothing.
        ([(4, rated(10.0, 20.0)), (8, rated(None, 30.0))], 8),
    ],
)
def test_the_best_windows_are_those_of_the_highest_quality(
    found: list[tuple[int, PointResult]], best: int
) -> None:
    """Windows rank by quality, then by nearness to the training's, then by length."""
    points = [(planned(length), result) for length, result in found]
    taken = _best(points).plans[0].pipeline.chunker
    assert taken.window() == {"place": best}


def test_windows_of_different_models_have_no_best_but_other_times() -> None:
    """Each model is compared with itself, and times are per second of input for both."""
    points = [planned(8, "one"), planned(16, "other")]
    assert (differ(points), compares(points)) == (True, False)
    assert (differ(points[:1] * 2), compares(points[:1] * 2)) == (False, False)
    assert (differ([*points, planned(8, "other")]), compares([*points, planned(8, "other")])) == (
        True,
        True,
    )


def test_a_few_windows_are_evenly_apart_with_the_last_among_them() -> None:
    """The chosen windows are evenly spaced with the last among them; few are all taken."""
    points = [planned(length) for length in range(1, 12)]
    lengths = [p.plans[0].pipeline.chunker.options.length for p in _apart(points, 4)]
    assert lengths[-1] == 11
    assert len(set(lengths)) == 4
    assert _apart(points[:3], 4) == points[:3]


def test_a_point_of_one_window_stays_as_it_is() -> None:
    """A point of one window and a refused point stay as they are."""
    refused = cast("PlannedPoint", SimpleNamespace(plans=()))
    assert Comparison({"a": "x"}).of(refused) is refused


@pytest.mark.parametrize(
    "value",
    [
        4, 0.25, 1e-9, True, None, "time", "two words", "it's", "null", "a\\'b", "", "{x}", "$x",
        [1, "a", [None]], {"inner": {"x": [0.5]}},
    ],
)  # fmt: skip
def test_an_option_of_any_sort_comes_back_through_hydras_grammar(value: object) -> None:
    """Options of any type come back from Hydra's grammar, which reads a point's command."""
    word = f"measure.against={_written({'plugin': 'x', 'value': value})}"
    (override,) = OverridesParser.create().parse_overrides([word])
    read = cast("dict[str, Any]", override.value())
    assert read["value"] == value


def test_an_override_names_the_plugin_and_its_options() -> None:
    """The override names the chunker and all its options."""
    plan = cast("Plan", planned(6).plans[0])
    assert _option(plan) == "measure.against={plugin:even,length:6,overlap:0}"
