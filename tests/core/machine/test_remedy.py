"""The advice fits the refusal: room is asked for where there is none, and nowhere else."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

import pytest

from core.errors import StoreError
from core.machine.folders import locked, unwritable
from core.machine.remedy import FULL, remedy
from core.run.folder import named_folder
from core.store.local import Store

ROOT = Path(__file__).parents[3]
OTHER = "store=/path/to/folder"


@pytest.mark.parametrize("number", sorted(errno.errorcode))
def test_only_a_full_disk_is_asked_for_room(number: int) -> None:
    """Of all system errors, only a full disk asks for room; each error names another place."""
    said = remedy(OSError(number, os.strerror(number)), OTHER)
    assert ("free some room" in said) is (number in FULL)
    assert said.endswith(f"choose another place: {OTHER}")


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (errno.EACCES, "right to write"),
        (errno.EROFS, "mount it for writing"),
        (errno.ENOENT, "that removes it"),
        (errno.ENAMETOOLONG, "shorter name"),
        (errno.ENOTDIR, "move away"),
        (errno.EMFILE, "ulimit"),
        (errno.EIO, "check the disk"),
        (errno.ENOLCK, "locks"),
    ],
)
def test_the_first_advice_is_what_helps(number: int, said: str) -> None:
    """The first advice depends on the kind of refusal."""
    assert said in remedy(OSError(number, "x"), OTHER)


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("[Errno 28] No space left on device: 'x'"),
        RuntimeError("Error while serializing: IoError(No space left on device (os error 28))"),
        shutil.Error([("a", "b", "[Errno 28] No space left on device: 'b'")]),
    ],
)
def test_a_full_disk_in_other_words_is_one(error: Exception) -> None:
    """A full disk is recognised in errors that libraries wrap."""
    assert "free some room" in remedy(error, OTHER)


def test_of_many_files_the_first_is_told() -> None:
    """For errors that `shutil` collects, the first is reported, with its path once."""
    error = shutil.Error([("a", "b", "[Errno 13] Permission denied: 'b'"), ("c", "d", "x")])
    said = unwritable("the run folder", error, Path("place"))
    assert said.what == "the run folder cannot be written: Permission denied"
    assert said.lines[0] == "at: b"
    assert "right to write" in said.lines[1]


def _as_store(place: Path) -> None:
    with Store(place).staging():
        pass


def _as_run_folder(place: Path) -> None:
    with named_folder(place / "run"):
        pass


def _as_hold(place: Path) -> None:
    with locked(place / "lock", "the folder"):
        pass


@pytest.mark.parametrize("use", [_as_store, _as_run_folder, _as_hold])
@pytest.mark.parametrize(
    ("where", "said"),
    [
        ("a file/below", "move away the file or folder there"),
        ("n" * 300, "give it a shorter name"),
        ("/proc/nobody", ""),
    ],
)
def test_every_place_tells_it(tmp_path: Path, use: object, where: str, said: str) -> None:
    """The store, a run folder and a held folder give the advice for the system's error."""
    (tmp_path / "a file").touch()
    assert callable(use)
    with pytest.raises(StoreError) as refused:
        use(tmp_path / where)
    assert said in refused.value.lines[-1]
    assert "room" not in refused.value.lines[-1]


def test_the_advice_is_written_once() -> None:
    """Only one module says `free some room`, which is wrong for most refusals."""
    rooms = [ROOT / "core", ROOT / "plugins"]
    said = [p for room in rooms for p in room.rglob("*.py") if "free some room" in p.read_text()]
    assert [p.relative_to(ROOT).as_posix() for p in said] == ["core/machine/remedy.py"]
