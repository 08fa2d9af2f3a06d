"""A folder that goes away, or can no longer be written, while a run works in it: one error."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from core import StageContext
from core.run import execute
from tests import toy
from tests.conftest import Command


@pytest.fixture
def after(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return a function that has another one called when a stage has run."""
    before = execute._run

    def set_up(stage: str, act: Any) -> None:
        def then(step: Any, *given: Any) -> Any:
            result = before(step, *given)
            if step.name == stage:
                act()
            return result

        monkeypatch.setattr(execute, "_run", then)

    return set_up


@pytest.mark.parametrize(
    ("gone", "what"), [("store", "the store"), ("outputs", "the run folder")], ids=str
)
@pytest.mark.parametrize("stage", ["model", "save"])
def test_a_folder_that_vanishes(
    command: Command, recipe: Path, tmp_path: Path, after: Any, stage: str, gone: str, what: str
) -> None:
    """The run names the removed folder; no plugin is blamed, and nothing stays half-written.

    The next run makes everything again.
    """
    after(stage, lambda: shutil.rmtree(tmp_path / gone))
    done = command(f"recipe={recipe}", f"output={tmp_path / 'outputs'}")
    assert done.code == 1
    first, *lines = done.err.strip().splitlines()
    assert first == f"error: {what} cannot be written: removed while it was in use"
    assert f"at: {tmp_path / gone}" in lines[0]
    assert "find the program that removes it" in lines[1]
    assert len(lines) == 2
    assert not list((tmp_path / "outputs").glob("*/*"))
    after("", None)
    assert command(f"recipe={recipe}", f"output={tmp_path / 'outputs'}").code == 0


@pytest.mark.parametrize("number", [errno.EROFS, errno.EIO, errno.ENOSPC])
def test_a_disk_that_refuses_is_no_fault_of_a_plugin(
    command: Command, recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """A disk that fails, fills up or becomes read-only during a run gives a remedy."""

    def refuse(work: StageContext, _: Any) -> None:
        raise OSError(number, os.strerror(number), str(work.folder / "x"))

    monkeypatch.setattr(StageContext, "copy", refuse)
    done = command(f"recipe={recipe}", f"output={tmp_path / 'outputs'}")
    assert done.code == 1
    assert os.strerror(number) in done.err
    assert done.err.strip().endswith("or choose another place: store=/path/to/folder")
    assert not list((tmp_path / "outputs").glob("*/*"))


def test_a_library_that_vanishes(
    command: Command, recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A library that vanishes gives one error with its place, and no folder that looks finished."""
    for name in ("a", "b", "c"):
        (tmp_path / f"{name}.line").write_text("1 2 3")
    save, saved = toy.Lines.save, list[str]()

    def then(self: toy.Lines, item: Any, *given: Any) -> Any:
        saved.append(item.name)
        if len(saved) == 2:
            shutil.rmtree(tmp_path / "outputs")
        return save(self, item, *given)

    monkeypatch.setattr(toy.Lines, "save", then)
    monkeypatch.setattr(toy.Lines, "_guarded", {}, raising=False)
    done = command(f"recipe={recipe}", f"input={tmp_path}/*.line")
    assert done.code == 1
    assert done.err.startswith("error: ")
    assert f"at: {tmp_path / 'outputs'}" in done.err
    assert "Traceback" not in done.err
    assert len(saved) == 2
    assert not list((tmp_path / "outputs").glob("*/batch-*/items/*"))
