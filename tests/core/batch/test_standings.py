"""What a batch has of a song: all of it as it was written, nothing, or damaged files."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from core import Source
from core.batch.manifest import Entry, Manifest
from core.batch.standings import standings, state_of
from core.store.hashing import file_digest

OUTPUT = "items/a/y"


@pytest.fixture
def song(tmp_path: Path) -> Path:
    """Return a song; what it gave lies at `OUTPUT`."""
    (tmp_path / "items" / "a").mkdir(parents=True)
    (tmp_path / OUTPUT).write_bytes(bytes(range(64)))
    (tmp_path / "a.wav").write_text("la")
    return tmp_path / "a.wav"


@pytest.fixture
def done(song: Path) -> Entry:
    """Return the line of the song."""
    outputs = {OUTPUT: file_digest(song.parent / OUTPUT)}
    return Entry("a.wav", "done", file_digest(song), "a", outputs)


def test_a_song_is_done_while_it_and_what_it_gave_are_the_same(
    song: Path, done: Entry, tmp_path: Path
) -> None:
    """A song is done until it or its result changes, or it failed."""
    assert state_of(done, song, tmp_path) == "done"
    assert state_of(None, song, tmp_path) == "left"
    assert state_of(Entry("a.wav", "failed", done.sha256), song, tmp_path) == "left"
    song.write_text("lala")
    assert state_of(done, song, tmp_path) == "left"
    song.unlink()
    assert state_of(done, song, tmp_path) == "left"


def test_a_bit_that_flipped_is_found_at_any_time_and_size(
    song: Path, done: Entry, tmp_path: Path
) -> None:
    """A flipped bit is found although a disk changes neither time stamps nor size."""
    file = tmp_path / OUTPUT
    stat, content = file.stat(), file.read_bytes()
    for place in range(len(content)):
        flipped = bytearray(content)
        flipped[place] ^= 1 << place % 8
        file.write_bytes(flipped)
        os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))
        assert state_of(done, song, tmp_path) == "damaged"


def test_what_is_cut_gone_or_something_else_is_damaged(
    song: Path, done: Entry, tmp_path: Path
) -> None:
    """A cut or missing file, a folder in its place, and a link to the same content are damage."""
    file = tmp_path / OUTPUT
    content = file.read_bytes()
    for end in range(len(content)):
        file.write_bytes(content[:end])
        assert state_of(done, song, tmp_path) == "damaged"
    file.unlink()
    assert state_of(done, song, tmp_path) == "damaged"
    (tmp_path / "copy").write_bytes(content)
    file.symlink_to(tmp_path / "copy")
    assert state_of(done, song, tmp_path) == "damaged"
    file.unlink()
    file.mkdir()
    assert state_of(done, song, tmp_path) == "damaged"


def test_two_songs_at_one_place_are_one_too_many(song: Path, done: Entry, tmp_path: Path) -> None:
    """The second song at one place gets a place of its own, and is played."""
    (tmp_path / "b.wav").write_text("la")
    with Manifest(tmp_path / "manifest.jsonl") as manifest:
        manifest.add(done)
        manifest.add(Entry("b.wav", "done", done.sha256, "A", {"items/A/y": done.outputs[OUTPUT]}))
    (tmp_path / "items" / "A").mkdir()
    (tmp_path / "items" / "A" / "y").write_bytes((tmp_path / OUTPUT).read_bytes())
    sources = [Source("a.wav", song), Source("b.wav", tmp_path / "b.wav")]
    found = list(standings(sources, Manifest(tmp_path / "manifest.jsonl")))
    assert [(one.place, one.state) for one in found] == [("a", "done"), ("b", "damaged")]
