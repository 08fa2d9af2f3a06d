"""The manifest of a batch: what was added is there, as it was added, or it does not count."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.batch.manifest import Entry, Manifest
from core.errors import StoreError
from tests.core.machine.test_paths import HOSTILE


def entry(source: str, **more: object) -> Entry:
    return Entry(source, "done", **more)  # type: ignore[arg-type]  # fields of an entry


def test_the_last_line_of_a_song_holds(tmp_path: Path) -> None:
    """Lines are only added; the last line of a song counts."""
    file = tmp_path / "manifest.jsonl"
    for sha256 in ("1", "2"):
        with Manifest(file) as manifest:
            manifest.add(entry("a", sha256=sha256))
    assert len(file.read_text().splitlines()) == 2
    assert Manifest(file).entries == {"a": entry("a", sha256="2")}


def test_a_line_that_was_cut_short_is_passed_over(tmp_path: Path) -> None:
    """The lines before and after a line that a crash cut short are read."""
    file = tmp_path / "manifest.jsonl"
    with Manifest(file) as manifest:
        manifest.add(entry("a"))
        manifest.add(entry("b"))
    whole = file.read_bytes()
    first = whole.index(b"\n") + 1
    for end in range(first, len(whole) - 1):
        file.write_bytes(whole[:end])
        with Manifest(file) as manifest:
            manifest.add(entry("c"))
        assert set(Manifest(file).entries) == {"a", "c"}


def test_a_name_may_hold_any_character(tmp_path: Path) -> None:
    """Names with any character, line breaks among them, come back from the manifest."""
    file = tmp_path / "manifest.jsonl"
    with Manifest(file) as manifest:
        manifest.add(entry("a\nb\u2028c\x85d"))
    assert list(Manifest(file).entries) == ["a\nb\u2028c\x85d"]


def test_a_manifest_that_cannot_be_written_is_one_message(tmp_path: Path) -> None:
    """A manifest that cannot be written, as with a folder in its place, gives one message."""
    (tmp_path / "manifest").mkdir()
    with (
        pytest.raises(StoreError, match="manifest cannot be written"),
        Manifest(tmp_path / "none" / "manifest"),
    ):
        pass


@pytest.mark.parametrize("source", ["a", "b"])
def test_a_bit_that_flipped_is_never_believed(tmp_path: Path, source: str) -> None:
    """A damaged line is skipped and counted; `with` removes it, so it is reported once."""
    file = tmp_path / "manifest.jsonl"
    with Manifest(file) as manifest:
        for name in ("a", "b"):
            outputs = {f"items/{name}/x.wav": "1"}
            manifest.add(entry(name, sha256="0", place=name, outputs=outputs))
    whole, expected = file.read_bytes(), Manifest(file).entries
    lines = whole.splitlines(keepends=True)
    start = len(lines[0]) if source == "b" else 0
    for at in range(start, start + len(lines[source == "b"])):
        flipped = bytearray(whole)
        flipped[at] ^= 1 << at % 8
        file.write_bytes(flipped)
        manifest = Manifest(file)
        assert manifest.entries.items() <= expected.items()
        # The end of the last line alone cannot be told from a crash.
        assert source in manifest.entries or manifest.damaged or at == len(whole) - 1
    with manifest:
        pass
    assert Manifest(file).damaged == 0


@pytest.mark.parametrize(
    ("place", "output"),
    [(hostile, f"items/{hostile}/y") for hostile in HOSTILE if "\x00" not in hostile]
    + [("a", hostile) for hostile in HOSTILE]
    + [("a", "items/b/y"), ("a", "manifest.jsonl"), ("a", "items/a"), ("a", "items/a/../b/y")],
)
def test_a_line_that_names_what_is_elsewhere_does_not_count(
    tmp_path: Path, place: str, output: str
) -> None:
    """A line with a path outside does not count, even with a correct digest."""
    file = tmp_path / "manifest.jsonl"
    with Manifest(file) as manifest:
        manifest.add(entry("a", place=place, outputs={output: "1"}))
        manifest.add(entry("b", place="b", outputs={"items/b/y": "1"}))
    assert list(Manifest(file).entries) == ["b"]
    assert Manifest(file).damaged == 1
