"""Paths that come out of files: below their root, or refused."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from core.errors import UnsafePathError
from core.machine import paths
from core.machine.paths import below

#: What no file may name, whatever the folder. Each reader of a path is sent these.
HOSTILE = (
    "",
    ".",
    "./",
    "/",
    "..",
    "../canary",
    "../../canary",
    "a/../../canary",
    "a/../b",
    "/etc/passwd",
    "//host/x",
    "C:\\x",
    "C:/x",
    "C:x",
    "..\\canary",
    "a\\..\\..\\canary",
    "\\\\host\\x",
    ".. /canary",
    "... /x",
    "a\x00b",
    "a\nb",
    "\x7f",
    "x" * 300,
    "x/" * 3000,
)
PARTS = st.sampled_from(
    ["a", "b.c", "..", ".", "", "...", " ", "é", "\udce9", "x" * 200, "out", "in"]
)


@pytest.mark.parametrize("links", [True, False])
@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_path_is_refused(tmp_path: Path, name: str, *, links: bool) -> None:
    """The error holds the path, the file that named it, and what is allowed."""
    with pytest.raises(UnsafePathError) as refused:
        below(tmp_path / "root", name, "a test", links=links)
    assert "named by: a test" in refused.value.lines
    assert refused.value.exit_code != 0


def test_an_honest_path_is_resolved(tmp_path: Path) -> None:
    """A valid path is resolved even if it does not exist."""
    for name in (
        "a",
        "a/b.txt",
        "a//b",
        "./a",
        "café/日本.wav",
        ".hidden",
        "..a",
        "a..",
        "live [1].wav",
    ):
        assert below(tmp_path, name, "a test") == tmp_path.resolve() / name


@given(st.lists(PARTS, max_size=6).map("/".join))
@example("in/../out/x")
def test_nothing_is_outside(tmp_path_factory: pytest.TempPathFactory, name: str) -> None:
    """No combination of parts leads outside, with links out and in among them."""
    root = _linked(tmp_path_factory)
    for links in (True, False):
        try:
            path = below(root, name, "a test", links=links)
        except UnsafePathError:
            continue
        assert path.resolve() == path
        assert root.resolve() in path.parents
        if not links:
            assert path == root.resolve().joinpath(*PurePosixPath(name).parts)


_roots: list[Path] = []


def _linked(factory: pytest.TempPathFactory) -> Path:
    """Return one folder for all examples, with a link that leads out and one that leads in."""
    if not _roots:
        root = factory.mktemp("linked") / "root"
        (root / "a").mkdir(parents=True)
        (root / "out").symlink_to(root.parent)
        (root / "in").symlink_to(root / "a")
        _roots.append(root)
    return _roots[0]


def test_a_link_may_lead_inside_unless_something_is_replaced(tmp_path: Path) -> None:
    """A link inside is followed, except to replace: the file did not name the link's target."""
    root = tmp_path / "root"
    (root / "real").mkdir(parents=True)
    (root / "link").symlink_to(root / "real")
    assert below(root, "link/x", "a test") == root.resolve() / "real" / "x"
    with pytest.raises(UnsafePathError, match="leads through a link"):
        below(root, "link/x", "a test", links=False)


def test_a_link_that_leads_to_itself_is_refused(tmp_path: Path) -> None:
    """A link to itself is refused, like every path that cannot be resolved."""
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    with pytest.raises(UnsafePathError):
        below(tmp_path, "loop/x", "a test")


@pytest.mark.parametrize("name", ["con", "a/NUL.txt", "xy:stream", "a.", "a /b", "COM1", "a?"])
def test_windows_takes_some_names_for_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Names that Windows aliases are refused on Windows, and accepted elsewhere."""
    assert below(tmp_path, name, "a test")
    monkeypatch.setattr(paths, "_WINDOWS", True)
    with pytest.raises(UnsafePathError, match="on Windows"):
        below(tmp_path, name, "a test")
