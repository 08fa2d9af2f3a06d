"""Patterns of paths: what they match, and from where names are told."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.machine.path_patterns import is_pattern, matching, top_of


@pytest.fixture
def songs(tmp_path: Path) -> Path:
    for name in ("a.wav", "b/c.wav", "b/d/e.wav", "b/.hidden.wav", "live [1].wav"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("*.wav", ["a.wav", "live [1].wav"]),
        ("*/*.wav", ["b/c.wav"]),
        ("**/*.wav", ["a.wav", "b/c.wav", "b/d/e.wav", "live [1].wav"]),
        ("**", ["a.wav", "b/c.wav", "b/d/e.wav", "live [1].wav"]),
        ("[ab].wav", ["a.wav"]),
        ("?.mp3", []),
    ],
)
def test_a_pattern_matches_files(songs: Path, pattern: str, expected: list[str]) -> None:
    """A pattern gives files in order of name, without folders and hidden files."""
    found = matching(f"{songs}/{pattern}")
    assert [file.relative_to(songs).as_posix() for file in found] == expected


@pytest.mark.timeout(20)
@pytest.mark.parametrize("pattern", ["**/*.wav", "./**/**/**/*.wav", "*/*/*/*/*/*/*/*/*/*/*.wav"])
def test_links_in_a_circle_end(songs: Path, pattern: str) -> None:
    """Links in a circle end: each folder is searched once, by the first of its names."""
    for name in ("l1", "l2", "l3", "b/l4"):
        (songs / name).symlink_to(songs)
    found = {
        file.resolve().relative_to(songs).as_posix() for file in matching(f"{songs}/{pattern}")
    }
    assert "a.wav" in found or not pattern.endswith("**/*.wav")


def test_a_pattern_follows_links(songs: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    """A pattern follows links, because a library may lie on several disks."""
    other = tmp_path_factory.mktemp("other")
    (other / "far.wav").touch()
    (songs / "b" / "there").symlink_to(other)
    assert songs / "b/there/far.wav" in matching(f"{songs}/**/*.wav")


def test_a_name_that_exists_is_no_pattern(songs: Path) -> None:
    """An existing file named like a pattern, as `live [1].wav`, is that file."""
    assert is_pattern(f"{songs}/*.wav")
    assert not is_pattern(f"{songs}/live [1].wav")
    assert not is_pattern(f"{songs}/none.wav")


def test_names_are_told_from_the_part_without_wildcards(songs: Path) -> None:
    """Names are relative to the folder above the first wildcard."""
    assert top_of(f"{songs}/b/*/x/**/*.wav") == songs / "b"
    assert top_of("*.wav") == Path()
