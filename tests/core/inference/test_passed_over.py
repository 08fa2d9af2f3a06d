"""What a dataset leaves out is told by the plan and by every run, kept results or not."""

from __future__ import annotations

from pathlib import Path

import pytest

from core import Notice
from tests import toy
from tests.conftest import Command

TOLD = "warning: left out: `b.line` is torn"


@pytest.fixture
def _torn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the toy dataset leave something out of its evaluation items."""

    def passed_over(_: toy.Ramp, split: str) -> list[Notice]:
        text = TOLD.removeprefix("warning: ")
        return [Notice("warning", text)] if split == "evaluation" else []

    monkeypatch.setattr(toy.Ramp, "passed_over", passed_over)
    monkeypatch.setattr(toy.Ramp, "_guarded", {}, raising=False)


@pytest.mark.usefixtures("_torn")
def test_what_is_left_out_is_told_every_time(command: Command, recipe: Path) -> None:
    """The plan and each run ask which files are left out: the store would keep a step's result."""
    for mode in ("plan", "run", "run"):
        done = command(f"recipe={recipe}", "reporter=[terminal]", f"mode={mode}")
        assert (done.code, done.out.count(TOLD)) == (0, 1), (mode, done.out, done.err)


def test_nothing_is_told_where_nothing_is_left_out(command: Command, recipe: Path) -> None:
    """A dataset that reports nothing leaves nothing out."""
    done = command(f"recipe={recipe}", "reporter=[terminal]")
    assert (done.code, "left out" in done.out) == (0, False)
