"""What a key depends on."""

from __future__ import annotations

import importlib
import os
import shutil
import socket
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from core import material


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a package whose module imports a helper inside a function."""
    folder = tmp_path / "visitor"
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    (folder / "plugin.py").write_text("def run():\n    from .helper import x\n    return x\n")
    (folder / "helper.py").write_text("x = 1\n")
    (folder / "other.py").write_text("y = 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    importlib.import_module("visitor.plugin")
    yield folder
    for name in [n for n in sys.modules if n.partition(".")[0] == "visitor"]:
        del sys.modules[name]
    material.source_digest.cache_clear()


def fresh() -> str:
    material.source_digest.cache_clear()
    return material.source_digest("visitor.plugin")


def test_a_changed_helper_changes_the_source(package: Path) -> None:
    """What a plugin imports from its own package belongs to its code, even inside a function."""
    before = fresh()
    (package / "helper.py").write_text("x = 2\n")
    assert fresh() != before


def test_a_changed_stranger_does_not(package: Path) -> None:
    """A module that the plugin never imports leaves its results alone."""
    before = fresh()
    (package / "other.py").write_text("y = 2\n")
    assert fresh() == before


def test_a_core_module_that_a_plugin_computes_with_belongs_to_it(
    package: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`from core.onnx_file import save` is code of the plugin; `from core import ...` is not."""
    (package / "helper.py").write_text("from core.onnx_file import save\nfrom core import Graph\n")
    hashed: list[Path] = []
    real = material.file_digest
    monkeypatch.setattr(material, "file_digest", lambda f: hashed.append(f) or real(f))
    fresh()
    assert {f.name for f in hashed} == {"plugin.py", "helper.py", "onnx_file.py"}


def test_the_digest_ignores_the_order_of_keys() -> None:
    """Two equal materials have one key."""
    assert material.digest({"a": 1, "b": [2]}) == material.digest({"b": [2], "a": 1})


def test_changes_name_the_line() -> None:
    """Each difference is one line with its path; code is not shown as two hashes."""
    old = {"options": {"n": 1, "m": 2}, "source": "aaa"}
    new = {"options": {"n": 1, "m": 3}, "source": "bbb"}
    assert material.changes(old, new) == ["options.m: 2 -> 3", "source: the plugin's code changed"]


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
    """It may lead elsewhere, or never end: refused by its name, however deep it lies."""
    (tmp_path / "deep" / "er").mkdir(parents=True)
    (tmp_path / "a").write_text("a")
    make(tmp_path / "deep" / "er" / "b")
    with pytest.raises(OSError, match=f"a {name}, where only files and folders may be") as error:
        material.folder_digest(tmp_path)
    assert error.value.filename == str(tmp_path / "deep" / "er" / "b")


def test_a_link_to_a_folder_and_a_file_are_no_folders(tmp_path: Path) -> None:
    """The folder itself is looked at, too."""
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    (tmp_path / "file").touch()
    for name in ("link", "file", "nothing"):
        with pytest.raises(OSError, match=r"only files|No such file"):
            material.folder_digest(tmp_path / name)


def test_a_digest_is_of_names_and_contents(tmp_path: Path) -> None:
    """Any other name, place, content or file is another; a second name of a file is a file."""
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "c").write_text("c")
    (tmp_path / "a" / os.fsdecode(b"caf\xe9")).write_text("d")
    before = material.folder_digest(tmp_path / "a")
    os.link(tmp_path / "a" / "b" / "c", tmp_path / "second")
    assert material.folder_digest(tmp_path / "a") == before
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
        seen.add(material.folder_digest(changed))
    assert len(seen) == 6
