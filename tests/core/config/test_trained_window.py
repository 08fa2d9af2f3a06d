"""`chunker.length=model`: a number from the plan on, wherever one looks for it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from core import ModelInfo, ModelSpec, NoOptions, Signature
from core.config.trained_window import are_trained, other_training
from plugins.chunker.overlap_add import OverlapAdd, OverlapAddOptions
from plugins.chunker.whole import Whole
from tests import toy
from tests.conftest import Command

MODEL = ("chunker=overlap_add", "chunker.axis=place", "chunker.length=model")


def test_lock_file_and_bundle_have_the_number(
    command: Command, recipe: Path, tmp_path: Path
) -> None:
    """Lock file and bundle hold the number 8, so that their readers need no model to know it."""
    done = command(f"recipe={recipe}", *MODEL)
    assert (done.code, done.err) == (0, "")
    (folder,) = (tmp_path / "outputs" / "toy").glob("*")
    lock = yaml.safe_load((folder / "recipe.lock.yaml").read_text())
    assert lock["chunker"]["length"] == 8
    chunking = json.loads((folder / "bundle" / "metadata.json").read_text())["chunking"]
    assert (chunking["length"], chunking["stride"]) == (8, 6)
    assert chunking["window"] == {"place": 8}


def test_it_is_the_same_as_the_number(command: Command, recipe: Path) -> None:
    """The store has one result for the word and the number, and the plan shows the number."""
    assert command(f"recipe={recipe}", *MODEL).code == 0
    toy.RAN.clear()
    done = command(f"recipe={recipe}", *MODEL[:2], "chunker.length=8")
    assert (done.code, toy.RAN) == (0, [])
    done = command(f"recipe={recipe}", *MODEL, "mode=plan")
    assert "0 of " in done.out
    assert "length=8" in done.out


def test_a_sweep_has_it_beside_numbers(command: Command, recipe: Path, tmp_path: Path) -> None:
    """A sweep has the word as a point of its own, with the words that a person typed."""
    arguments = ["-m", f"recipe={recipe}", *MODEL[:2], "chunker.length=model,4", "dataset.places=9"]
    done = command(*arguments)
    assert done.code == 0, done.err
    (place,) = (tmp_path / "outputs" / "toy").glob("sweep-*")
    points = json.loads((place / "sweep.json").read_text())["points"]
    assert [point["values"]["chunker.length"] for point in points] == ["model", "4"]
    assert [point["status"] for point in points] == ["done", "done"]
    lengths = [
        yaml.safe_load((place / point["folder"] / "recipe.lock.yaml").read_text())["chunker"]
        for point in points
    ]
    assert [chunker["length"] for chunker in lengths] == [8, 4]


def test_a_model_that_does_not_say_is_told(
    command: Command, recipe: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error gives users a number to set, and plugin authors the place to declare it."""
    spec = ModelSpec(("row", "place"), dsp="straight")
    monkeypatch.setattr(toy.Gain, "plan", lambda _: spec)
    monkeypatch.setattr(toy.Gain, "_guarded", {}, raising=False)
    done = command(f"recipe={recipe}", *MODEL)
    assert done.code == 2
    assert "gives no length along `place`" in done.err
    assert "model: `gain`" in done.err
    assert "chunker.length=44100" in done.err
    assert "ModelSpec" in done.err
    assert toy.RAN == []


@pytest.mark.parametrize("given", ["long", "2.5", "-3", ""])
def test_another_word_is_refused(command: Command, recipe: Path, given: str) -> None:
    """A length is `model` or a positive integer; any other value is refused."""
    done = command(f"recipe={recipe}", *MODEL[:2], f"chunker.length={given or chr(39) * 2}")
    assert done.code == 2
    assert "length" in done.err
    assert "Traceback" not in done.err


def test_windows_as_long_as_planned_are_those_of_the_training() -> None:
    """Windows as long as planned match the training even where a layout rounded them up."""
    planned = ModelSpec(("channel", "time"), train_window={"time": 90112})
    assert are_trained(OverlapAdd(OverlapAddOptions(90112)), planned)
    assert not are_trained(OverlapAdd(OverlapAddOptions(88200)), planned)
    assert not are_trained(OverlapAdd(OverlapAddOptions(90112)), ModelSpec(("time",)))
    assert not are_trained(Whole(NoOptions()), planned)


def test_weights_that_were_trained_otherwise_are_told() -> None:
    """A smaller fallback network is reported; a layout that rounds up is not."""
    chunker = OverlapAdd(OverlapAddOptions(344064))
    planned = ModelSpec(("channel", "time"), train_window={"time": 344064})

    def told(trained: int) -> list[str]:
        info = ModelInfo(Signature((), ()), (), (), train_window={"time": trained})
        return [notice.text for notice in other_training(chunker, planned, info)]

    assert told(343980) == []
    (text,) = told(88200)
    assert "windows of 344,064" in text
    assert "trained on 88,200: chunker.length=88200" in text
    assert other_training(OverlapAdd(OverlapAddOptions(45056)), planned, ModelInfo(
        Signature((), ()), (), (), train_window={"time": 88200})) == ()  # fmt: skip
