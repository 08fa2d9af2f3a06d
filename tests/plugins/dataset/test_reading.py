"""Audio of every format is read, and every kind of broken file is handled."""

from __future__ import annotations

import contextlib
import math
import os
import tracemalloc
from typing import TYPE_CHECKING

import numpy as np
import pytest
import soundfile

from core import Array, InputError
from plugins.dataset._audio import libav
from plugins.dataset._audio.reading import ENDINGS, MAX_MINUTES, check, read
from plugins.dataset.files import Files, FilesOptions
from plugins.dataset.musdb import MusdbOptions
from tests.hostile import songs
from tests.hostile.packed_sound import PACKED, flac, silent_frames
from tests.hostile.plain_sound import PLAIN

if TYPE_CHECKING:
    from pathlib import Path


RATE = 44100
#: libsndfile's options to write a file of each ending that it reads.
FORMATS = {
    ".wav": {},
    ".flac": {},
    ".ogg": {},
    ".oga": {"format": "OGG"},
    ".mp3": {},
    ".mp2": {"format": "WAV"},
    ".aiff": {},
    ".aif": {"format": "AIFF"},
    ".aifc": {"format": "AIFF", "subtype": "FLOAT"},
    ".au": {},
    ".caf": {},
    ".w64": {},
    ".bwf": {"format": "WAV"},
    ".rf64": {"format": "RF64"},
    ".opus": {"format": "OGG", "subtype": "OPUS"},
}


def noise(frames: int, channels: int = 2) -> Array:
    """Return quiet noise (time, channel)."""
    return (0.1 * np.random.default_rng(0).standard_normal((frames, channels))).astype(np.float32)


def test_every_ending_that_is_promised_can_be_read(tmp_path: Path) -> None:
    """Every listed ending of libsndfile can be read; test_formats.py tests the ones of FFmpeg."""
    assert set(FORMATS) < set(ENDINGS)
    for ending, how in FORMATS.items():
        file = tmp_path / f"song{ending}"
        rate = 48000 if ending == ".opus" else RATE
        soundfile.write(file, noise(rate // 2), rate, **how)
        sound = read(file)
        assert (sound.rate, sound.samples.shape) == (rate, (2, rate // 2)), ending
        assert check(file) == rate // 2, ending
        assert sound.samples.dtype == np.float32
        assert (sound.notices, sound.whole) == ((), True)


def test_samples_come_as_they_were_written(tmp_path: Path) -> None:
    """Float samples are read unchanged, channel by channel."""
    file = tmp_path / "song.wav"
    soundfile.write(file, noise(100, 3), RATE, "FLOAT")
    np.testing.assert_array_equal(noise(100, 3).T, read(file).samples)


@pytest.mark.parametrize("rate", [8000, 192000])
def test_one_silent_mono_sample_is_a_sound(tmp_path: Path, rate: int) -> None:
    """A file of one silent mono sample is read, at 8 and at 192 kHz."""
    file = tmp_path / "tick.wav"
    soundfile.write(file, np.zeros(1, np.float32), rate)
    sound = read(file)
    assert (sound.rate, sound.samples.tolist()) == (rate, [[0.0]])


def test_a_header_without_a_length_is_no_cut(tmp_path: Path) -> None:
    """A streamed WAV (`ffmpeg ... pipe:`), whose header says 0xFFFFFFFF bytes, is whole."""
    file = tmp_path / "piped.wav"
    soundfile.write(file, noise(1000), RATE)
    data = bytearray(file.read_bytes())
    at = data.index(b"data") + 4
    data[4:8] = data[at : at + 4] = b"\xff" * 4
    file.write_bytes(data)
    assert read(file).samples.shape == (2, 1000)
    assert check(file) == 1000


def test_a_flac_of_unknown_length_is_read_to_its_end(tmp_path: Path) -> None:
    """A streamed FLAC (`ffmpeg ... -f flac pipe:`), whose header has no length, is read whole.

    libsndfile gives no length for such a file.
    """
    file = tmp_path / "piped.flac"
    soundfile.write(file, noise(70_000), RATE)
    whole = read(file)
    data = bytearray(file.read_bytes())
    # The 36 lowest bits before the MD5 sum of the first block are the number of samples.
    data[21] &= 0xF0
    data[22:26] = bytes(4)
    file.write_bytes(data)
    sound = read(file)
    np.testing.assert_array_equal(whole.samples, sound.samples)
    assert (sound.notices, check(file)) == ((), 70_000)


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"", "is an empty file"), (b"no audio at all " * 99, "cannot be read as audio: it is text")],
)
def test_what_is_no_audio_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    """An empty file or a text is refused, and the error names the file."""
    file = tmp_path / "song.wav"
    file.write_bytes(content)
    for look in (check, read):
        with pytest.raises(InputError, match=f"`song.wav` {message}"):
            look(file)


def test_a_file_without_samples_is_refused(tmp_path: Path) -> None:
    """A file that holds a header and no samples is refused."""
    file = tmp_path / "song.wav"
    soundfile.write(file, noise(0), RATE)
    for look in (check, read):
        with pytest.raises(InputError, match=r"`song\.wav` holds no samples"):
            look(file)


@pytest.mark.parametrize("channels", [3, 6])
def test_more_channels_than_two_are_refused(tmp_path: Path, channels: int) -> None:
    """More than two channels are refused by the header, and the message shows how to mix down."""
    soundfile.write(tmp_path / "song.wav", noise(10, channels), RATE)
    with pytest.raises(InputError, match=f"`song.wav` has {channels} channels") as caught:
        check(tmp_path / "song.wav")
    assert "-ac 2" in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    """The error for a missing file has its path."""
    with pytest.raises(InputError, match=r"nothing.wav` does not exist"):
        read(tmp_path / "nothing.wav")


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    """A folder whose name ends in .wav is refused."""
    (tmp_path / "song.wav").mkdir()
    with pytest.raises(InputError, match=r"song.wav` cannot be"):
        read(tmp_path / "song.wav")


def test_a_rate_that_cannot_be_is_refused(tmp_path: Path) -> None:
    """A rate of 2 GHz in a damaged header is refused before any resampling."""
    soundfile.write(tmp_path / "song.wav", noise(10), 2_000_000_011)
    for look in (check, read):
        with pytest.raises(InputError, match="2000000011 Hz"):
            look(tmp_path / "song.wav")


@pytest.mark.parametrize("rate", [8000, 44100])
def test_hours_in_a_small_file_are_refused_before_they_are_decoded(
    tmp_path: Path, rate: int
) -> None:
    """Hours of silence in a small file are refused without decoding.

    The message says the stated length and how to allow it.
    """
    file = tmp_path / "silence.flac"
    file.write_bytes(flac(rate, 10_000 * 65_535, silent_frames(10_000)))
    tracemalloc.start()
    try:
        for look in (check, read):
            with pytest.raises(InputError, match=r"minutes at .* Hz, in a file of 0\.1 MB") as said:
                look(file)
        assert tracemalloc.get_traced_memory()[1] < 10e6
    finally:
        tracemalloc.stop()
    minutes = math.ceil(10_000 * 65_535 / rate / 60)
    assert f"or allow it: dataset.max_minutes={minutes}" in said.value.lines
    assert check(file, minutes) == 10_000 * 65_535


def test_a_dense_sound_counts_as_a_longer_one(tmp_path: Path) -> None:
    """The bound `max_minutes` limits memory: a second at 192 kHz counts as four at 48 kHz."""
    file = tmp_path / "song.wav"
    soundfile.write(file, noise(192_000), 192_000)
    assert check(file, 4.01 / 60) == 192_000
    with pytest.raises(InputError, match="says that it holds"):
        check(file, 3.99 / 60)


@pytest.mark.parametrize("minutes", [0.0, -1.0, math.inf, math.nan])
def test_a_bound_that_bounds_nothing_is_refused(minutes: float) -> None:
    """The datasets of files refuse a `max_minutes` that is zero, negative, infinite or NaN."""
    for options in (FilesOptions, MusdbOptions):
        with pytest.raises(ValueError, match="`max_minutes` is"):
            options("songs", max_minutes=minutes)


def test_one_song_of_a_library_keeps_its_bound(tmp_path: Path) -> None:
    """One song of a folder, played alone, keeps the folder's `max_minutes`."""
    soundfile.write(tmp_path / "song.wav", noise(RATE), RATE)
    songs = Files(FilesOptions(str(tmp_path), max_minutes=0.5 / 60))
    (source,) = songs.sources()
    with pytest.raises(InputError, match=r"`song\.wav` says that it holds"):
        songs.only(source).identity("evaluation")


def test_every_hostile_song_is_a_sound_or_one_clear_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A hostile header of any format gives a bounded sound or one clear error.

    test_formats.py reads the hostile files that go to FFmpeg.
    """
    monkeypatch.setattr(libav, "installed", lambda: False)
    for name, data in songs(len(PLAIN) + len(PACKED), seed=0):
        file = tmp_path / name
        file.write_bytes(data)
        for look in (check, read):
            with contextlib.suppress(InputError):
                found = look(file)
                frames = found if isinstance(found, int) else found.samples.shape[-1]
                assert frames <= MAX_MINUTES * 60 * 768_000, name
        file.unlink()


def test_what_a_decoder_prints_stays_off_the_terminal(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A decoder's own output for a damaged MP3 is hidden; later output on stderr is shown."""
    monkeypatch.setattr(libav, "installed", lambda: False)
    for number, (name, content) in enumerate(songs(123, seed=1)):
        if name.endswith(".mp3"):
            file = tmp_path / f"{number}.mp3"
            file.write_bytes(content)
            with contextlib.suppress(InputError):
                read(file)
    os.write(2, b"after")
    assert capfd.readouterr().err == "after"
