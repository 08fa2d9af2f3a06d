"""A stored folder is hashed once in a process, as long as its files stay as they were."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from core import verified
from core.material import folder_digest
from core.verified import verified_digest


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder whose files have been there for an hour."""
    for name in ("a", "b/c"):
        file = tmp_path / name
        file.parent.mkdir(exist_ok=True)
        file.write_text(name)
        age(file)
    return tmp_path


def age(file: Path) -> None:
    """Let a file be an hour old."""
    then = file.stat().st_mtime - 3600
    os.utime(file, (then, then))


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Return the list of the folders that were hashed."""
    folders: list[Path] = []

    def counted(folder: Path) -> str:
        folders.append(folder)
        return folder_digest(folder)

    monkeypatch.setattr(verified, "folder_digest", counted)
    return folders


def test_an_unchanged_folder_is_hashed_once(folder: Path, hashed: list[Path]) -> None:
    """The second answer is the same, and comes from memory."""
    assert verified_digest(folder) == verified_digest(folder) == folder_digest(folder)
    assert hashed == [folder]


@pytest.mark.parametrize("change", ["content", "same size and age", "another file", "fewer files"])
def test_a_change_is_noticed(folder: Path, change: str) -> None:
    """Of the size, of the time, of the names; and of a time that was set back."""
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
    """It may change once more without a change of its time."""
    (folder / "a").write_text("young")
    verified_digest(folder)
    verified_digest(folder)
    assert hashed == [folder, folder]
