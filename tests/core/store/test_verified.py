"""A stored folder is hashed once in a process, as long as its files stay as they were."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

import pytest

from core.store import hashing
from core.store.hashing import folder_digest, verified_digest

HOUR_NS = 3600 * 10**9


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder whose files have been there for an hour."""
    folder = tmp_path / "folder"
    for name in ("a", "b/c"):
        file = folder / name
        file.parent.mkdir(exist_ok=True, parents=True)
        file.write_text(name)
    now = time.time_ns
    monkeypatch.setattr(hashing.time, "time_ns", lambda: now() + HOUR_NS)
    return folder


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Return the list of the folders that were hashed."""
    folders: list[Path] = []

    def counted(folder: Path) -> str:
        folders.append(folder)
        return folder_digest(folder)

    monkeypatch.setattr(hashing, "folder_digest", counted)
    return folders


def test_an_unchanged_folder_is_hashed_once(folder: Path, hashed: list[Path]) -> None:
    """The second digest of an unchanged folder is equal and comes from memory."""
    assert verified_digest(folder) == verified_digest(folder) == folder_digest(folder)
    assert hashed == [folder]


@pytest.mark.parametrize("change", ["content", "same size and age", "another file", "fewer files"])
def test_a_change_is_noticed(folder: Path, change: str) -> None:
    """Changes of size, time and names are noticed, and so is a time that was set back."""
    before = verified_digest(folder)
    if change == "content":
        (folder / "a").write_text("longer")
    elif change == "same size and age":
        old = (folder / "a").stat()
        (folder / "a").write_text("x")
        os.utime(folder / "a", ns=(old.st_atime_ns, old.st_mtime_ns))
    elif change == "another file":
        (folder / "new").touch()
    else:
        (folder / "a").unlink()
    assert verified_digest(folder) == folder_digest(folder) != before


def test_a_young_file_is_hashed_each_time(folder: Path, hashed: list[Path]) -> None:
    """A young file is hashed each time, as it may change again within the same time stamp."""
    later = time.time() + 3600
    os.utime(folder / "a", (later, later))
    verified_digest(folder)
    verified_digest(folder)
    assert hashed == [folder, folder]


def test_a_young_copy_of_an_old_file_is_young(
    folder: Path, hashed: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A young copy with an old time stamp is hashed each time: a change may keep its stamp."""
    monkeypatch.undo()
    monkeypatch.setattr(hashing, "folder_digest", lambda f: hashed.append(f) or folder_digest(f))
    old = time.time() - 3600
    os.utime(folder / "a", (old, old))
    os.utime(folder / "b" / "c", (old, old))
    copy = folder.with_name("copy")
    shutil.copytree(folder, copy)
    verified_digest(copy)
    verified_digest(copy)
    assert hashed == [copy, copy]
