"""A full disk under a stage is called a full disk, whatever its plugin says of it."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from core.errors import StageError, StoreError
from core.plugin.stages import StageContext
from core.run.full_disk import full_disk
from tests import toy
from tests.conftest import Command

FULL = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _wrapped(inner: BaseException) -> StageError:
    error = StageError("exporter `x` cannot export the model: OSError", "try exporter=y")
    error.__cause__ = inner
    return error


@pytest.mark.parametrize(
    "error",
    [FULL, _wrapped(FULL), StageError("it failed", "[Errno 28] No space left on device")],
)
def test_a_full_disk_is_told_with_its_room(tmp_path: Path, error: Exception) -> None:
    """The error names the stage, the room, what was written, and what helps."""
    said = full_disk(error, "exporter", tmp_path, tmp_path)
    assert said is not None
    assert said.what.startswith("a disk is full: stage `exporter` could not write its result: No")
    assert "free of" in said.lines[0]
    assert "needed: more than" in str(said)
    assert "mode=clean" in str(said)
    assert said.lines[-1].startswith("free some room, or choose another place: store=")


def test_the_unfinished_result_counts_as_free(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The room is what the next attempt finds: the unfinished result is removed."""
    (tmp_path / "part.bin").write_bytes(bytes(1_500_000))
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=0, total=20_000_000))
    said = full_disk(FULL, "exporter", tmp_path, tmp_path)
    assert said is not None
    assert said.lines[0] == f"the store: 1.5 MB free of 20 MB, at {tmp_path}"


@pytest.mark.parametrize(
    "error", [_wrapped(KeyError("x")), OSError(errno.EACCES, "no right"), StoreError("Errno 28")]
)
def test_other_failures_keep_their_words(tmp_path: Path, error: Exception) -> None:
    """Only a full disk is called one."""
    assert full_disk(error, "exporter", tmp_path, tmp_path) is None


def test_a_run_says_it_and_goes_on_from_its_results(
    command: Command, recipe: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error of a plugin that blames its own work gives way to that of the disk."""

    def refused(*_: object) -> None:
        raise _wrapped(FULL)

    with monkeypatch.context() as patched:
        patched.setattr(StageContext, "copy", refused)
        done = command(f"recipe={recipe}")
    assert done.code == 1
    assert "a disk is full: stage `graph.copied`" in done.err
    assert "exporter=y" not in done.err
    toy.RAN.clear()
    assert command(f"recipe={recipe}").code == 0
    assert "model" not in toy.RAN
