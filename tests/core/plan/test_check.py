"""Recipes whose stages do not fit are refused by the plan, with what would fit."""

from __future__ import annotations

from pathlib import Path

import pytest

from core import hookimpl
from tests import toy
from tests.conftest import Command


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ["graph=[onnxsim]"],
            ["`onnxsim` accepts onnx, but model `gain` produces torch", "copied"],
        ),
        (["dsp=stft"], ["model `gain` needs dsp `straight`", "choose it: dsp=straight"]),
        (
            ["dataset=synthetic"],
            ["channel × time", "row × place", "datasets that fit: lines, ramp"],
        ),
        (["chunker=overlap_add"], ["cuts the axis `time`", "row, place"]),
        (["host=distant"], ["runtime `distant` cannot play whole inputs here", "plain"]),
        (["calibration=null"], ["names no calibration data"]),
        (["target=s24"], ["`s24` does not run precision `fp32`", "int8"]),
        (
            ["dataset.calibrate_on_evaluation=true", "calibration.calibrate_on_evaluation=true"],
            ["calibration and evaluation share 1 item(s)", "`ramp`"],
        ),
        # Limits that nothing can judge.
        (["contract.min_snr=30"], ["`contract.min_snr`", "did you mean `min_snr_db`"]),
        (["contract.min_snr_db=high"], ["contract.min_snr_db"]),
        (
            ["contract.max_largest=1", "evaluator=[]"],
            ["no evaluator of the recipe measures it", "evaluator=[largest]"],
        ),
        (
            ["contract.max_chunk_ms=5"],
            ["runtime `distant` does not measure the device's speed", "contract.max_chunk_ms=null"],
        ),
    ],
)
def test_a_misfit_is_refused_before_anything_runs(
    command: Command, recipe: Path, arguments: list[str], said: list[str]
) -> None:
    """A misfit gives exit code 2, what does not fit, what would, and no execution."""
    command(f"recipe={recipe}", *arguments).refused(said)


def test_a_quantizer_that_can_do_without_calibration_data_is_let_pass(
    command: Command, recipe: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A quantizer that needs no calibration data passes without it; named data are checked."""
    monkeypatch.setattr(toy.Coarse, "calibration_needed", False)
    done = command(f"recipe={recipe}", "calibration=null", "mode=plan")
    assert done.code == 0, done.err
    both = ["dataset.calibrate_on_evaluation=true", "calibration.calibrate_on_evaluation=true"]
    assert "calibration and evaluation share" in command(f"recipe={recipe}", *both).err


@pytest.mark.parametrize("word", ["quantizer=null", "quantizer=none"])
def test_without_a_quantizer_that_calibrates_no_data_are_asked_for(
    command: Command, recipe: Path, word: str
) -> None:
    """No quantizer, or one that passes the graph on, needs no calibration data."""
    done = command(f"recipe={recipe}", word, "calibration=null", "mode=plan")
    assert done.code == 0, done.err


def test_a_quantizer_of_no_windows_needs_no_data(command: Command) -> None:
    """Dynamic quantisation looks at no window, so that it needs no calibration data."""
    words = ("recipe=cpu_fp32", "quantizer=dynamic", "calibration=null", "mode=plan")
    done = command(*words)
    assert done.code == 0, done.err


def test_a_target_without_a_player_names_its_runtime(command: Command, recipe: Path) -> None:
    """Without a host the runtime that cannot play is named; with a slow host, the host."""
    assert "runtime `distant` cannot play" in command(f"recipe={recipe}", "host=null").err


def test_a_limit_that_can_be_judged_is_let_through(command: Command, recipe: Path) -> None:
    """The file's size needs no player, and the recipe's evaluator answers its own limits."""
    limits = ("contract.max_size_mb=1", "contract.max_largest=1")
    assert command(f"recipe={recipe}", *limits, "mode=plan").code == 0
    player = ("runtime=plain", "~runtime@host", "contract.max_memory_mb=1")
    assert command(f"recipe={recipe}", *player, "mode=plan").code == 0


@pytest.mark.parametrize(
    ("arguments", "lines"),
    [
        (["graph=[onnxsim]"], ["graph plugins that accept torch: copied",
                               "or leave it out: graph=[]"]),
        (["quantizer=qdq"], ["quantizer plugins that accept torch: coarse",
                             "choose one: quantizer=coarse", "or leave it out: quantizer=none"]),
        (["runtime=onnxruntime"], [("runtime plugins that accept torch: "
                                    "distant, plain, torch, two_devices"),
                                   "choose one: runtime=distant"]),
        (["chunker=overlap_add"], ["name another axis: chunker.axis=place",
                                   "choose a chunker for these axes, or chunker=whole"]),
        (["chunker=rows"], ["choose a chunker for these axes, or chunker=whole"]),
    ],
)  # fmt: skip
def test_the_advice_is_what_can_be_typed(
    command: Command,
    recipe: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    lines: list[str],
) -> None:
    """The lines below an error name one choice, and only options that the plugin has."""

    class Rows(toy.Even):
        """Cuts an axis that the model does not have, and has no option for another."""

        name = "rows"

        def window(self) -> dict[str, int]:
            """Return windows along another axis."""
            return {"column": 4}

    plugins = toy.luthier_plugins()
    monkeypatch.setattr(toy, "luthier_plugins", hookimpl(lambda: [*plugins, Rows]))
    done = command(f"recipe={recipe}", *arguments)
    assert done.code == 2
    assert done.err.splitlines()[1:] == ["  recipe: toy", *(f"  {line}" for line in lines)]


def test_a_graph_of_one_length_needs_windows_of_one_length(command: Command, recipe: Path) -> None:
    """An exporter of fixed lengths with inputs of any length is refused, with chunkers that cut."""
    stages = ("exporter=onnx", "graph=[]", "quantizer=null", "runtime=onnxruntime", "host=null")
    done = command(f"recipe={recipe}", *stages, "chunker=whole")
    assert done.code == 2
    assert "exporter `onnx` makes a graph of one fixed length" in done.err
    assert "inputs whole along `place`" in done.err
    assert "cut windows (chunkers that do: context, even, overlap_add)" in done.err
    assert command(f"recipe={recipe}", *stages, "mode=plan").code == 0


def test_what_two_splits_share_is_counted(
    command: Command, recipe: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only items of both splits count, and the first of them is named."""
    splits = {"calibration": ("a", "b", "c", "d"), "evaluation": ("b", "c", "e")}
    monkeypatch.setattr(toy.Ramp, "_guarded", {}, raising=False)
    monkeypatch.setattr(toy.Ramp, "identity", lambda _, split: splits[split])
    done = command(f"recipe={recipe}")
    assert done.code == 2
    assert "calibration and evaluation share 2 item(s), first `b`" in done.err
