"""A reporter that fails costs no result, and ends in the exit code of what went wrong."""

from __future__ import annotations

import errno
import json
import os
import shlex
import sqlite3
from pathlib import Path

import pytest

from core.errors import PluginError, StageError, StoreError
from core.run.job import unreported
from tests import toy
from tests.conftest import Command

FULL = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "report.html")


def _wrapped(inner: BaseException) -> Exception:
    error = StageError("MLflow did not take the results")
    error.__cause__ = inner
    return error


def _sqlite() -> sqlite3.OperationalError:
    error = sqlite3.OperationalError("database or disk is full")
    error.sqlite_errorcode = 13
    return error


@pytest.mark.parametrize(
    "problem", [FULL, OSError(errno.EROFS, "read-only"), _wrapped(FULL), _wrapped(_sqlite())]
)
def test_what_the_disk_refuses_is_no_breach_of_a_plugin(problem: Exception) -> None:
    """A refusal of the disk ends in exit code 1 and says what is missing, as anywhere else."""
    said = unreported(problem, Path("out"))
    assert isinstance(said, StoreError)
    assert said.exit_code == 1
    assert "a report cannot be written" in said.what
    assert "missing from out" in str(said)


@pytest.mark.parametrize(
    "problem",
    [
        KeyError("x"),
        _wrapped(ConnectionRefusedError(errno.ECONNREFUSED, "refused")),
        OSError("no reason"),
    ],
)
def test_other_failures_are_the_reporters(problem: Exception) -> None:
    """A bug and a server that does not answer are reported as the reporter's failures."""
    assert isinstance(unreported(problem, Path("out")), PluginError)


@pytest.mark.parametrize("sweep", [False, True])
def test_a_full_disk_under_a_reporter_keeps_the_result(
    command: Command, recipe: Path, monkeypatch: pytest.MonkeyPatch, sweep: bool
) -> None:
    """The rest of the run folder is there, and the exit code is that of a full disk."""

    def full(*_: object) -> None:
        raise FULL

    monkeypatch.setattr("plugins.reporter.json._write", full)
    done = command(*(["-m", "model.gain=3"] if sweep else []), f"recipe={recipe}", "output=out")
    assert done.code == 1, done.err
    assert "a report cannot be written: No space left on device" in done.err
    assert list(Path("out").rglob("recipe.lock.yaml"))


def test_a_reference_in_the_name_of_a_file_is_text(command: Command, recipe: Path) -> None:
    """The command in the report and the lock file repeat the run, whatever the name says."""
    name = "a ${oc.env:HOME}, [b]='\\.line"
    Path(name).write_text("1 2 3 4 5")
    assert command(f"recipe={recipe}", f"input={name}", "output=out").code == 0
    (folder,) = Path("out/toy").iterdir()
    again = shlex.split(json.loads((folder / "report.json").read_text())["command"])[4:]
    assert again == [f"recipe={recipe.name}", f"input={name}", "output=out"]
    toy.RAN.clear()
    done = command(f"recipe={folder / 'recipe.lock.yaml'}", f"input={name}", "output=out")
    assert (done.code, done.err, toy.RAN) == (0, "", [])
