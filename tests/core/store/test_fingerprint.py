"""What a key depends on."""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from core.store import fingerprint, hashing


def test_the_digest_ignores_the_order_of_keys() -> None:
    """Equal fingerprints have one digest, in any order of keys."""
    assert hashing.digest({"a": 1, "b": [2]}) == hashing.digest({"b": [2], "a": 1})


def test_changes_name_the_line() -> None:
    """Each difference is one line with its path, and code is not shown as two hashes."""
    old = {"options": {"n": 1, "m": 2}, "source": "aaa", "code": {"core.inference.windows": "c"}}
    new = {"options": {"n": 1, "m": 3}, "source": "bbb", "code": {"core.inference.windows": "d"}}
    assert fingerprint.changes(old, new) == [
        "core.inference.windows: the core's code changed",
        "options.m: 2 -> 3",
        "source: the plugin's code changed",
    ]


def bound(file: Path) -> None:
    """Leave a socket; its whole path would be too long for one."""
    with socket.socket(socket.AF_UNIX) as one:
        there = Path.cwd()
        os.chdir(file.parent)
        try:
            one.bind(file.name)
        finally:
            os.chdir(there)


@pytest.mark.parametrize(
    ("name", "make"),
    [
        ("symbolic link", lambda file: file.symlink_to("a")),
        ("symbolic link", lambda file: file.symlink_to(".")),
        ("symbolic link", lambda file: file.symlink_to("nothing")),
        ("symbolic link", lambda file: file.symlink_to("/")),
        ("pipe", os.mkfifo),
        ("socket", bound),
    ],
    ids=["link", "link to its folder", "broken link", "link outside", "pipe", "socket"],
)
def test_a_folder_of_anything_but_files_has_no_digest(
    tmp_path: Path, name: str, make: Callable[[Path], object]
) -> None:
    """A link, a pipe or the like at any depth is refused by name: it may lead out or never end."""
    (tmp_path / "deep" / "er").mkdir(parents=True)
    (tmp_path / "a").write_text("a")
    make(tmp_path / "deep" / "er" / "b")
    with pytest.raises(OSError, match=f"a {name}, where only files and folders may be") as error:
        hashing.folder_digest(tmp_path)
    assert error.value.filename == str(tmp_path / "deep" / "er" / "b")


def test_a_link_to_a_folder_and_a_file_are_no_folders(tmp_path: Path) -> None:
    """The top folder itself must be a true folder, neither a link nor a file."""
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    (tmp_path / "file").touch()
    for name in ("link", "file", "nothing"):
        with pytest.raises(OSError, match=r"only files|No such file"):
            hashing.folder_digest(tmp_path / name)


def test_a_digest_is_of_names_and_contents(tmp_path: Path) -> None:
    """Name, place, content and files change the digest; a hard link counts as a file."""
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "c").write_text("c")
    (tmp_path / "a" / os.fsdecode(b"caf\xe9")).write_text("d")
    before = hashing.folder_digest(tmp_path / "a")
    os.link(tmp_path / "a" / "b" / "c", tmp_path / "second")
    assert hashing.folder_digest(tmp_path / "a") == before
    seen = {before}
    for change in (
        lambda a: (a / "b" / "c").rename(a / "c"),
        lambda a: (a / "b" / "c").rename(a / "b" / "C"),
        lambda a: (a / "e").touch(),
        lambda a: (a / "b" / "c").unlink(),
        lambda a: (a / "b" / "c").write_text("C"),
    ):
        changed = tmp_path / str(len(seen))
        shutil.copytree(tmp_path / "a", changed)
        change(changed)
        seen.add(hashing.folder_digest(changed))
    assert len(seen) == 6
