"""What a key depends on."""

from __future__ import annotations

import importlib.metadata
import os
import shutil
import socket
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

import pytest

from core import Graph, NoOptions, Requirement
from core.plugin.kinds import Chunker, Converter, Plugin
from core.store import fingerprint, hashing, source_code
from tests import toy


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


def test_a_stage_is_named_by_its_kind() -> None:
    """A person knows the plugin of a step by its kind, unless the kind itself has changed."""
    old, new = ({"stage": {"kind": "runtime", "options": {"n": n}}} for n in (1, 2))
    assert fingerprint.changes(old, new) == ["runtime.options.n: 1 -> 2"]
    other = {"stage": {"kind": "graph", "options": {"n": 2}}}
    assert fingerprint.changes(new, other) == ["stage.kind: runtime -> graph"]


class OfThisMachine(toy.Copied):
    """A rewriter whose results belong to one machine."""

    name = "of_this_machine"

    def machine(self) -> dict[str, str]:
        """Return the processor."""
        return {"processor": "a"}


def test_facts_of_the_machine_are_part_of_the_key() -> None:
    """What a plugin says of the machine is in its fingerprint; most say nothing."""
    assert fingerprint.of_plugin(OfThisMachine(NoOptions()))["machine"] == {"processor": "a"}
    assert "machine" not in fingerprint.of_plugin(toy.Copied(NoOptions()))


class Colour(Enum):
    """An option with names of its own."""

    red = 1


@dataclass
class PaintOptions:
    """Options of several types, none of them in the order of the alphabet."""

    width: int = 2
    colour: Colour = Colour.red
    folder: Path = Path("a/b")


class Paint(toy.Copied):
    """A rewriter with libraries, one of which is not installed."""

    name = "paint"
    version = "7"
    Options = PaintOptions  # type: ignore[assignment]  # of another type than the toy's
    libraries = (
        Requirement("yaml", "pip install pyyaml", "PyYAML"),
        Requirement("onnx", "pip install onnx"),
        Requirement("nowhere", "pip install nowhere"),
    )


def test_a_plugin_is_known_by_all_that_its_results_depend_on() -> None:
    """Kind, name, version, code, options by name, and the libraries that it names."""
    found = fingerprint.of_plugin(Paint(PaintOptions()))  # type: ignore[arg-type]  # as above
    assert (found["kind"], found["plugin"], found["version"]) == ("graph", "paint", "7")
    assert found["source"] == source_code.of_module(__name__)
    kinds = [source_code.tree_digest(cls) for cls in (Graph, Converter, Plugin)]
    assert found["kind_source"] == kinds
    assert source_code.tree_digest(Chunker) not in kinds
    # In the order of the alphabet: the order of the fields changes no result.
    assert list(found["options"].items()) == [("colour", "red"), ("folder", "a/b"), ("width", 2)]
    assert found["libraries"] == {
        "PyYAML": importlib.metadata.version("PyYAML"),
        "onnx": importlib.metadata.version("onnx"),
        "nowhere": "absent",
    }
    plain = fingerprint.of_plugin(toy.Copied(NoOptions()))
    assert plain["options"] == {}


def test_changes_show_long_values_by_their_beginning() -> None:
    """A value of up to 40 characters is shown whole, and a longer one by its first 12."""
    whole, long = "x" * 40, "abcdefghijklmnop" + "x" * 25
    assert fingerprint.changes({"n": whole}, {"n": long}) == [f"n: {whole} -> abcdefghijkl…"]


def test_a_mapping_that_becomes_something_else_is_one_change() -> None:
    """A mapping is compared key by key only with another mapping."""
    assert fingerprint.changes({"n": {"a": 1}}, {"n": 2}) == ["n: {'a': 1} -> 2"]
    assert fingerprint.changes({"n": 2}, {"n": {"a": 1}}) == ["n: 2 -> {'a': 1}"]


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
