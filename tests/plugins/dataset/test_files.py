"""The dataset `files` reads a person's own songs and writes their stems."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import numpy as np
import pytest
import soundfile

from core import InputError, Item, Signature, Split
from core.inference.items import checked_items
from core.store import hashing
from plugins.dataset._audio import libav
from plugins.dataset.files import Files, FilesOptions

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Write = Callable[..., Path]
    Separation = Callable[..., Signature]


def dataset(path: Path, limit: int | None = None) -> Files:
    """Return the dataset for a path."""
    return Files(FilesOptions(str(path), limit))


def stems(*shape: int, peak: float = 0.5) -> dict[str, np.ndarray]:
    """Return the output of four stems, each of one constant level."""
    levels = np.linspace(-peak, peak, 4, dtype=np.float32)[:, None, None]
    return {"parts": levels * np.ones((4, *shape), np.float32)}


def test_one_file_is_one_item(tmp_path: Path, write: Write, separation: Separation) -> None:
    """One file is one item, under the model's name for its input and without references."""
    file = write(tmp_path / "My Song.flac")
    (item,) = checked_items(dataset(file), "evaluation", separation())
    assert (item.name, item.inputs["song"].shape) == ("My Song", (2, 2000))
    assert item.references == {}


def test_a_folder_gives_its_audio_in_order_of_name(
    tmp_path: Path, write: Write, separation: Separation
) -> None:
    """A folder gives its audio files by name, sub-folders included, and at most `limit` of them.

    Upper and lower case of endings are equal, and other files are ignored.
    """
    for seed, name in enumerate(("b.wav", "a.WAV", "more/c.flac")):
        write(tmp_path / name, seed)
    (tmp_path / "notes.txt").write_text("no audio")
    names = [item.name for item in dataset(tmp_path).items("evaluation", separation())]
    assert names == ["a", "b", "more/c"]
    assert len(dataset(tmp_path, limit=2).identity("evaluation")) == 2


def test_names_that_differ_only_in_their_ending_keep_it(
    tmp_path: Path, write: Write, separation: Separation
) -> None:
    """Files that differ only in their ending keep it in their items' names."""
    write(tmp_path / "a.wav", 1)
    write(tmp_path / "a.flac", 2)
    names = [item.name for item in dataset(tmp_path).items("evaluation", separation())]
    assert names == ["a.flac", "a.wav"]


def test_a_pattern_gives_the_audio_that_it_matches(
    tmp_path: Path, write: Write, separation: Separation
) -> None:
    """A pattern gives the audio that matches, named from the folder above the first wildcard."""
    for seed, name in enumerate(("a/x.wav", "b/x.flac", "b/more/y.wav")):
        write(tmp_path / name, seed)
    (tmp_path / "b" / "notes.txt").write_text("no audio")
    own = dataset(tmp_path / "**" / "*")
    assert [source.name for source in own.sources()] == ["a/x.wav", "b/more/y.wav", "b/x.flac"]
    names = [item.name for item in dataset(tmp_path / "b" / "*").items("evaluation", separation())]
    assert names == ["x"]
    with pytest.raises(InputError, match=r"no audio files match .*\*\.mp3"):
        dataset(tmp_path / "*.mp3").identity("evaluation")


def test_songs_are_listed_without_being_read(
    tmp_path: Path, write: Write, separation: Separation
) -> None:
    """A damaged song is listed with the others, and the others can still be read."""
    write(tmp_path / "a.wav", 1)
    (tmp_path / "b.wav").write_bytes(b"no audio at all " * 99)
    write(tmp_path / "c [1].wav", 3)
    own = dataset(tmp_path)
    first, second, third = own.sources()
    assert [one.name for one in (first, second, third)] == ["a.wav", "b.wav", "c [1].wav"]
    for good in (first, third):
        (item,) = own.only(good).items("evaluation", separation())
        assert item.name == good.file.stem
    with pytest.raises(InputError, match=r"`b\.wav` cannot be read as audio"):
        own.only(second).identity("evaluation")
    assert len(list(dataset(tmp_path, limit=2).sources())) == 2


def test_a_name_that_is_no_text_is_read_and_told_as_text(
    tmp_path: Path, write: Write, separation: Separation
) -> None:
    """A file whose name is no valid text is read, shown with escapes, and its stems are saved."""
    file = write(tmp_path / "a.wav")
    file.rename(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.wav"))
    (source,) = dataset(tmp_path).sources()
    assert source.file.is_file()
    own = dataset(source.file)
    (item,) = checked_items(own, "evaluation", separation())
    assert item.name == r"caf\xe9"
    assert all("\udce9" not in notice.text for notice in item.notices)
    folder = tmp_path / os.fsdecode(b"caf\xe9")
    for saved in own.save(item, stems(2, 50), separation(), folder):
        assert (folder / saved.path).is_file()


def test_an_id_follows_the_content_not_the_name(tmp_path: Path, write: Write) -> None:
    """A song's id depends on its content, so a renamed copy in the same folder is taken once."""
    one, two = write(tmp_path / "one.wav", 7), write(tmp_path / "two.wav", 7)
    assert dataset(one).identity("evaluation") == dataset(two).identity("calibration")
    assert len(dataset(tmp_path).identity("evaluation")) == 1
    assert dataset(one).identity("evaluation")[0].startswith("sha256:")


def test_another_rate_is_fitted_and_said(
    tmp_path: Path, write: Write, separation: Separation
) -> None:
    """A song at 48 kHz is resampled to 44.1 kHz with the same duration, and a notice says so."""
    file = write(tmp_path / "song.wav", frames=4800, rate=48000)
    (item,) = dataset(file).items("evaluation", separation())
    assert item.inputs["song"].shape == (2, 4410)
    assert "48000" in item.notices[0].text


@pytest.mark.parametrize("kind", ["missing", "empty folder", "songless folder", "pipe"])
def test_a_path_without_audio_is_refused_by_the_plan(tmp_path: Path, kind: str) -> None:
    """A path without audio fails when the plan reads the ids, and the message says what to give."""
    path = tmp_path if kind.endswith("folder") else tmp_path / "song.wav"
    if kind == "songless folder":
        (tmp_path / "notes.txt").write_text("no audio")
    if kind == "pipe":
        os.mkfifo(path)
    with pytest.raises(InputError, match=r"input=\.\.\. or dataset\.path=") as caught:
        dataset(path).identity("evaluation")
    assert ("neither a file nor a folder" in str(caught.value)) == (kind == "pipe")


@pytest.mark.parametrize("split", ["calibration", "evaluation"])
def test_a_song_that_cannot_be_read_costs_no_other(
    tmp_path: Path, write: Write, separation: Separation, split: Split
) -> None:
    """An unreadable song in a folder is left out with a warning; given by itself it is refused."""
    write(tmp_path / "a.wav", 1)
    (tmp_path / "b.wav").write_bytes(b"no audio at all " * 99)
    own = dataset(tmp_path)
    assert len(own.identity(split)) == 1
    assert [item.name for item in own.items(split, separation())] == ["a"]
    (notice,) = own.passed_over(split)
    assert notice.severity == "warning"
    assert notice.text == "left out: `b.wav` cannot be read as audio: it is text"
    assert not dataset(tmp_path, limit=1).passed_over(split)
    with pytest.raises(InputError, match=r"`b\.wav` cannot be read as audio"):
        dataset(tmp_path / "b.wav").identity(split)


def test_a_folder_without_one_readable_song_is_refused(tmp_path: Path) -> None:
    """A folder without a readable song is refused, with the reasons of the first few songs."""
    for number in range(7):
        (tmp_path / f"{number}.wav").write_bytes(b"no audio at all")
    with pytest.raises(InputError, match="none of 7 audio files") as told:
        dataset(tmp_path).identity("evaluation")
    assert "3.wav: `3.wav` cannot be read as audio: it is text" in told.value.lines


def test_many_songs_left_out_are_told_in_a_few_lines(tmp_path: Path, write: Write) -> None:
    """Of many songs left out, five get a notice each.

    A last notice counts the others and says how to list them.
    """
    write(tmp_path / "a.wav", 1)
    for number in range(9):
        (tmp_path / f"{number}.wav").write_bytes(b"no audio at all")
    told = [notice.text for notice in dataset(tmp_path).passed_over("evaluation")]
    assert len(told) == 6
    assert told[-1] == "left out: 4 more files; scale=here lists each of them"


def test_a_file_that_may_not_be_opened_costs_no_other(
    tmp_path: Path, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file without read permission is left out with a notice, as a damaged file is."""
    write(tmp_path / "a.wav", 1)
    write(tmp_path / "b.wav", 2)
    digest = hashing.file_digest

    def refused(file: Path) -> str:
        if file.name == "b.wav":
            raise PermissionError(13, "Permission denied")
        return digest(file)

    monkeypatch.setattr(hashing, "file_digest", refused)
    own = dataset(tmp_path)
    assert len(own.identity("evaluation")) == 1
    (notice,) = own.passed_over("evaluation")
    assert notice.text == "left out: `b.wav` cannot be opened: Permission denied"


def test_a_folder_that_may_not_be_opened_is_named(
    tmp_path: Path, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its songs would be left out in silence; alone it is refused with the system's reason."""
    write(tmp_path / "a.wav", 1)
    (tmp_path / "closed").mkdir()
    scandir = os.scandir

    def refusing(place: str) -> object:
        if str(place).endswith("closed"):
            raise PermissionError(13, "Permission denied", str(place))
        return scandir(place)

    monkeypatch.setattr(os, "scandir", refusing)
    (told,) = Files(FilesOptions(str(tmp_path))).passed_over("evaluation")
    assert "the folder" in told.text
    assert "closed` cannot be opened: Permission denied" in told.text
    with pytest.raises(InputError, match="closed` cannot be opened: Permission denied"):
        list(Files(FilesOptions(str(tmp_path / "closed"))).sources())


def test_what_is_missing_of_a_song_is_told_with_it(
    tmp_path: Path, write: Write, separation: Separation
) -> None:
    """An item's notices say first what is missing in its file, then how it was fitted."""
    file = write(tmp_path / "song.wav", frames=48000, rate=48000)
    file.write_bytes(file.read_bytes()[: 24_000 * 4 + 44])
    (item,) = dataset(file).items("evaluation", separation())
    assert item.inputs["song"].shape == (2, 22050)
    assert [notice.severity for notice in item.notices] == ["warning", "info"]
    assert "0.5 s of 1.0 s can be decoded" in item.notices[0].text


def test_a_video_is_taken_where_it_is_meant(tmp_path: Path, write: Write) -> None:
    """A video is read if it is named or if the pattern has its ending; a folder leaves it out."""
    write(tmp_path / "a.wav", 1)
    (tmp_path / "clip.MP4").write_bytes(write(tmp_path / "b.wav", 2).read_bytes())
    names = {
        given: [source.name for source in dataset(tmp_path / given).sources()]
        for given in ("", "*", "clip.MP4", "*.MP4")
    }
    assert names["*"] == names[""] == ["a.wav", "b.wav"]
    assert names["clip.MP4"] == names["*.MP4"] == ["clip.MP4"]
    (notice,) = dataset(tmp_path).passed_over("evaluation")
    assert notice.severity == "info"
    assert notice.text == "left out: 1 videos; a pattern includes them: input='**/*.MP4'"
    assert not dataset(tmp_path / "clip.MP4").passed_over("evaluation")
    assert ".mp4" in Files.opens


def test_the_doctor_says_what_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """The doctor says whether FFmpeg's libraries read further formats, or how to install them."""
    monkeypatch.setattr(libav, "installed", lambda: False)
    (notice,) = Files.findings()
    assert "pip install 'luthier[formats]'" in notice.text
    monkeypatch.setattr(libav, "installed", lambda: True)
    (notice,) = Files.findings()
    assert "are read by FFmpeg's libraries" in notice.text


def test_stems_of_one_song_lie_side_by_side(
    tmp_path: Path, write: Write, separation: Separation
) -> None:
    """Mixture and stems of one song go to `stems/<label>.wav`, in 24 bits at the model's rate."""
    own = dataset(write(tmp_path / "song.wav", frames=50))
    (item,) = own.items("evaluation", separation())
    saved = own.save(item, stems(2, 50), separation(), tmp_path / "run")
    assert [(s.path, s.label, s.item) for s in saved] == [
        (f"stems/{label}.wav", label, "song")
        for label in ("mixture", "drums", "bass", "other", "vocals")
    ]
    for entry in saved:
        assert soundfile.info(tmp_path / "run" / entry.path).subtype == "PCM_24"
    drums, rate = soundfile.read(tmp_path / "run/stems/drums.wav", always_2d=True)
    assert (drums.shape, rate) == ((50, 2), 44100)
    np.testing.assert_allclose(drums, -0.5, atol=2**-23)


def test_several_songs_have_folders_of_their_own(
    tmp_path: Path, write: Write, separation: Separation
) -> None:
    """Each song has its own folder inside the run folder, even if two names are equal on disk."""
    for seed, name in enumerate(("a b.wav", "a_b.wav")):
        write(tmp_path / "in" / name, seed, frames=50)
    own = dataset(tmp_path / "in")
    items = [
        *own.items("evaluation", separation()),
        Item("x", "../../up", {"song": np.zeros((2, 50), np.float32)}),
    ]
    folders = {
        saved.path.rpartition("/")[0]
        for item in items
        for saved in own.save(item, stems(2, 50), separation(), tmp_path / "run")
    }
    assert folders == {"stems/a_b", "stems/a_b_2", "stems/up"}
    assert (tmp_path / "run/stems/up/vocals.wav").is_file()


def test_a_stem_above_full_scale_is_not_clipped(
    tmp_path: Path, write: Write, separation: Separation
) -> None:
    """A stem above full scale is saved as floats, because 24 bits would clip it."""
    own = dataset(write(tmp_path / "song.wav", frames=50))
    (item,) = own.items("evaluation", separation())
    own.save(item, stems(2, 50, peak=1.5), separation(), tmp_path)
    vocals, _ = soundfile.read(tmp_path / "stems/vocals.wav")
    assert vocals.max() == 1.5
    assert soundfile.info(tmp_path / "stems/vocals.wav").subtype == "FLOAT"
    assert soundfile.info(tmp_path / "stems/bass.wav").subtype == "PCM_24"


def test_a_limit_that_leaves_nothing_is_refused() -> None:
    """A limit of 0 files is refused."""
    with pytest.raises(ValueError, match="`limit` is 0"):
        FilesOptions("song.wav", 0)
