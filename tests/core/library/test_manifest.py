"""The manifest of a library: what was added is there, whatever happened while it was added."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.errors import StoreError
from core.library.manifest import Entry, Manifest, is_done


def entry(source: str, **more: object) -> Entry:
    return Entry(source, "done", **more)  # type: ignore[arg-type]  # fields of an entry


def test_the_last_line_of_a_song_holds(tmp_path: Path) -> None:
    """Lines are added; none is changed."""
    file = tmp_path / "manifest.jsonl"
    for sha256 in ("1", "2"):
        with Manifest(file) as manifest:
            manifest.add(entry("a", sha256=sha256))
    assert len(file.read_text().splitlines()) == 2
    assert Manifest(file).entries == {"a": entry("a", sha256="2")}


def test_a_line_that_was_cut_short_is_passed_over(tmp_path: Path) -> None:
    """Wherever a crash cut it, the lines before and after are whole."""
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
    """Line breaks among them."""
    file = tmp_path / "manifest.jsonl"
    with Manifest(file) as manifest:
        manifest.add(entry("a\nb\u2028c\x85d"))
    assert list(Manifest(file).entries) == ["a\nb\u2028c\x85d"]


def test_a_manifest_that_cannot_be_written_is_one_message(tmp_path: Path) -> None:
    """A folder in its place, say."""
    (tmp_path / "manifest").mkdir()
    with (
        pytest.raises(StoreError, match="manifest cannot be written"),
        Manifest(tmp_path / "none" / "manifest"),
    ):
        pass


def test_a_song_is_done_while_its_file_and_what_it_gave_are_there(tmp_path: Path) -> None:
    """Another content, a lost output, a failure: each has it played again."""
    from core.material import file_digest

    song, output = tmp_path / "song", tmp_path / "out"
    song.write_text("la")
    output.touch()
    done = entry("song", sha256=file_digest(song), outputs={"out": ""})
    assert is_done(done, song, tmp_path)
    assert not is_done(None, song, tmp_path)
    assert not is_done(Entry("song", "failed", done.sha256), song, tmp_path)
    output.unlink()
    assert not is_done(done, song, tmp_path)
    output.touch()
    song.write_text("lala")
    assert not is_done(done, song, tmp_path)
    song.unlink()
    assert not is_done(done, song, tmp_path)
