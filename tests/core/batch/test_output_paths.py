"""The places of songs: names for every system, one for each song, the same in every run."""

from __future__ import annotations

from pathlib import PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.batch.manifest import Entry
from core.batch.output_paths import OutputPaths

NAMES = st.sampled_from(["a", "A", "b", "x.y", "con", "é", "e\u0301", "a b", "..."])
SOURCES = st.lists(
    st.builds(
        lambda folders, name, ending: "/".join([*folders, f"{name}{ending}"]),
        st.lists(NAMES, max_size=2),
        NAMES,
        st.sampled_from([".wav", ".flac", ".WAV"]),
    ),
    unique=True,
    max_size=12,
)


@pytest.mark.parametrize(
    ("sources", "expected"),
    [
        (["a/song.flac", "b/song.flac"], ["a/song", "b/song"]),
        (["song.flac", "song.wav"], ["song", "song.wav"]),
        (["Song.flac", "song.flac"], ["Song", "song.flac"]),
        (["x/y.flac", "x.flac"], ["x/y", "x.flac"]),
        (["x.flac", "x/y.flac"], ["x", "x_2/y.flac"]),
        (["What? (live) [1].mp3"], ["What_ (live) [1]"]),
        (["con.wav", "aux/nul.wav"], ["con_", "aux_/nul_"]),
        (["....wav", "?.wav"], ["item", "wav"]),
        ([f"{'ä' * 127}.wav"], ["ä" * 100]),
    ],
)
def test_a_place_is_the_path_without_its_ending(sources: list[str], expected: list[str]) -> None:
    """Places that another song has, or that no system accepts, get a distinct name."""
    places = OutputPaths()
    assert [places.of(source) for source in sources] == expected


@given(SOURCES)
def test_no_place_lies_in_another(sources: list[str]) -> None:
    """No place lies in another, and none differ only in upper and lower case."""
    places = OutputPaths()
    paths = [PurePosixPath(places.of(source).casefold()) for source in sources]
    for number, path in enumerate(paths):
        assert ".." not in path.parts
        for other in paths[:number]:
            assert path != other
            assert path not in other.parents
            assert other not in path.parents


@given(SOURCES, SOURCES)
def test_a_song_keeps_its_place_when_others_come(first: list[str], more: list[str]) -> None:
    """A later run reads the places from the manifest, in any order."""
    before = OutputPaths()
    entries = [Entry(source, "done", place=before.of(source)) for source in first]
    after = OutputPaths(reversed(entries))
    for source in more:
        after.of(source)
    assert [after.of(source) for source in first] == [entry.place for entry in entries]
