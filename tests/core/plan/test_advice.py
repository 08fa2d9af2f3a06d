"""What a stage advises is in the plan and in every report."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from core import ArtifactSpec, Notice
from tests import toy
from tests.conftest import Command


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[ArtifactSpec]:
    """Have the toy runtime advise something; return what it was asked about."""
    specs: list[ArtifactSpec] = []

    def advice(_: toy.Plain, spec: ArtifactSpec) -> list[Notice]:
        specs.append(spec)
        return [Notice("warning", f"no faster than by hand at {spec.precision}")]

    monkeypatch.setattr(toy.Plain, "advice", advice)
    for cls in (toy.Plain, toy.Distant):  # made of the classes as they were
        monkeypatch.setattr(cls, "_guarded", {}, raising=False)
    return specs


def test_the_plan_and_every_run_show_it(
    command: Command, recipe: Path, asked: list[ArtifactSpec], tmp_path: Path
) -> None:
    """The plan and each run ask the stage, kept results or not; the stage is named."""
    words = (f"recipe={recipe}", "runtime=plain", "~runtime@host", "reporter=[terminal,json]")
    for mode in ("plan", "run", "run"):
        done = command(*words, f"mode={mode}")
        assert done.code == 0, done.err
        assert "runtime `plain`: no faster than by hand at" in done.out, mode
    assert len({spec.format for spec in asked}) == 1
    for file in (tmp_path / "outputs" / "toy").glob("*/report.json"):
        notices = json.loads(file.read_text(encoding="utf-8"))["notices"]
        assert sum("no faster than by hand" in notice["text"] for notice in notices) == 1


def test_a_host_that_plays_advises_too(
    command: Command, recipe: Path, asked: list[ArtifactSpec]
) -> None:
    """The host, if it plays whole inputs, is asked about what it plays."""
    done = command(f"recipe={recipe}", "mode=plan")
    assert done.code == 0, done.err
    assert "host `plain`: no faster than by hand" in done.out
    assert asked


def test_a_stage_that_advises_nothing_adds_nothing(command: Command, recipe: Path) -> None:
    """Without advice there is no line."""
    assert "warning:" not in command(f"recipe={recipe}", "mode=plan").out
