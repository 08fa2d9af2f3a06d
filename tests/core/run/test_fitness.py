"""Weights that are not fit for any input say so, at the top and with the command that helps."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from core import FitFor, StageContext, StageResult
from tests import toy
from tests.conftest import Command

FIT_FOR = FitFor(
    ("lines",), "these weights know lines only", ("model.gain=3",), "without a network, think"
)


@pytest.fixture
def picky(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the toy model be fit for the items of `lines` alone."""
    fetch = toy.Gain.fetch

    def limited(self: toy.Gain, work: StageContext) -> StageResult:
        made = fetch(self, work)
        assert made.model is not None
        return dataclasses.replace(made, model=dataclasses.replace(made.model, fit_for=FIT_FOR))

    monkeypatch.setattr(toy.Gain, "fetch", limited)
    monkeypatch.setattr(toy.Gain, "_guarded", {}, raising=False)


def notices(folder: Path) -> list[dict[str, str]]:
    """Return what a run's report warns of."""
    (file,) = folder.rglob("report.json")
    return [n for n in json.loads(file.read_text())["notices"] if n["severity"] == "danger"]


@pytest.mark.usefixtures("picky")
def test_another_input_is_announced_with_the_command_that_takes_other_weights(
    command: Command, recipe: Path, tmp_path: Path
) -> None:
    """The suggested command is the run's own, without options that do not affect the run."""
    own = ["calibration=ramp", "model.gain=4", "measure.budget_windows=1"]
    assert command(f"recipe={recipe}", *own).code == 0
    (notice,) = notices(tmp_path)
    assert notice["text"] == (
        "These weights know lines only. Take others: "
        "`python -m core recipe=toy.yaml calibration=ramp model.gain=3`. Without a network, think."
    )


@pytest.mark.usefixtures("picky")
def test_an_input_that_they_fit_is_not(command: Command, recipe: Path, tmp_path: Path) -> None:
    """No notice appears for the dataset that the weights were trained on."""
    file = tmp_path / "one.line"
    np_line = " ".join(str(n / 10) for n in range(20))
    file.write_text(f"{np_line}\n{np_line}\n")
    assert command(f"recipe={recipe}", f"input={file}").code == 0
    assert notices(tmp_path) == []


def test_weights_fit_any_input_unless_they_say(
    command: Command, recipe: Path, tmp_path: Path
) -> None:
    """A model that states no fit gives no notice for any input."""
    assert command(f"recipe={recipe}").code == 0
    assert notices(tmp_path) == []
