"""Reading audio: every format, and every way to be broken."""

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
#: How libsndfile writes a file of each ending that it reads.
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
    """The list that a person is shown is true: of libsndfile here, of FFmpeg in test_formats.py."""
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
    """Floats pass unchanged, channel by channel."""
    file = tmp_path / "song.wav"
    soundfile.write(file, noise(100, 3), RATE, "FLOAT")
    np.testing.assert_array_equal(noise(100, 3).T, read(file).samples)


@pytest.mark.parametrize("rate", [8000, 192000])
def test_one_silent_mono_sample_is_a_sound(tmp_path: Path, rate: int) -> None:
    """The smallest sound there is, at either end of the usual rates."""
    file = tmp_path / "tick.wav"
    soundfile.write(file, np.zeros(1, np.float32), rate)
    sound = read(file)
    assert (sound.rate, sound.samples.tolist()) == (rate, [[0.0]])


def test_a_header_without_a_length_is_no_cut(tmp_path: Path) -> None:
    """A WAV that was streamed (`ffmpeg ... pipe:`) says 0xFFFFFFFF bytes and is whole."""
    file = tmp_path / "piped.wav"
    soundfile.write(file, noise(1000), RATE)
    data = bytearray(file.read_bytes())
    at = data.index(b"data") + 4
    data[4:8] = data[at : at + 4] = b"\xff" * 4
    file.write_bytes(data)
    assert read(file).samples.shape == (2, 1000)
    assert check(file) == 1000


def test_a_flac_of_unknown_length_is_read_to_its_end(tmp_path: Path) -> None:
    """It was streamed too (`ffmpeg ... -f flac pipe:`); libsndfile gives no length to read to."""
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
    """The error names the file and what could be read."""
    file = tmp_path / "song.wav"
    file.write_bytes(content)
    for look in (check, read):
        with pytest.raises(InputError, match=f"`song.wav` {message}"):
            look(file)


def test_a_file_without_samples_is_refused(tmp_path: Path) -> None:
    """A header alone is no sound."""
    file = tmp_path / "song.wav"
    soundfile.write(file, noise(0), RATE)
    for look in (check, read):
        with pytest.raises(InputError, match=r"`song\.wav` holds no samples"):
            look(file)


@pytest.mark.parametrize("channels", [3, 6])
def test_more_channels_than_two_are_refused(tmp_path: Path, channels: int) -> None:
    """The header alone says so, and the message shows how to mix down."""
    soundfile.write(tmp_path / "song.wav", noise(10, channels), RATE)
    with pytest.raises(InputError, match=f"`song.wav` has {channels} channels") as caught:
        check(tmp_path / "song.wav")
    assert "-ac 2" in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    """The error says where it was looked for."""
    with pytest.raises(InputError, match=r"nothing.wav` does not exist"):
        read(tmp_path / "nothing.wav")


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    """A folder whose name ends in .wav is not read."""
    (tmp_path / "song.wav").mkdir()
    with pytest.raises(InputError, match=r"song.wav` cannot be"):
        read(tmp_path / "song.wav")


def test_a_rate_that_cannot_be_is_refused(tmp_path: Path) -> None:
    """A damaged header does not start a resampling that fills the memory."""
    soundfile.write(tmp_path / "song.wav", noise(10), 2_000_000_011)
    for look in (check, read):
        with pytest.raises(InputError, match="2000000011 Hz"):
            look(tmp_path / "song.wav")


@pytest.mark.parametrize("rate", [8000, 44100])
def test_hours_in_a_small_file_are_refused_before_they_are_decoded(
    tmp_path: Path, rate: int
) -> None:
    """A bomb of silence takes no memory, and the message says what was told and how to allow it."""
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
    """What is bounded is memory: a second of 192 kHz is four of 48 kHz."""
    file = tmp_path / "song.wav"
    soundfile.write(file, noise(192_000), 192_000)
    assert check(file, 4.01 / 60) == 192_000
    with pytest.raises(InputError, match="says that it holds"):
        check(file, 3.99 / 60)


@pytest.mark.parametrize("minutes", [0.0, -1.0, math.inf, math.nan])
def test_a_bound_that_bounds_nothing_is_refused(minutes: float) -> None:
    """By the options of every dataset of files."""
    for options in (FilesOptions, MusdbOptions):
        with pytest.raises(ValueError, match="`max_minutes` is"):
            options("songs", max_minutes=minutes)


def test_one_song_of_a_library_keeps_its_bound(tmp_path: Path) -> None:
    """Played alone, beside others, it is held to what the whole was held to."""
    soundfile.write(tmp_path / "song.wav", noise(RATE), RATE)
    songs = Files(FilesOptions(str(tmp_path), max_minutes=0.5 / 60))
    (source,) = songs.sources()
    with pytest.raises(InputError, match=r"`song\.wav` says that it holds"):
        songs.only(source).identity("evaluation")


def test_every_hostile_song_is_a_sound_or_one_clear_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No header, of any format, ends in another error, or in more samples than its bytes hold.

    Those that FFmpeg is asked for, too, are read in test_formats.py.
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
    """A damaged MP3 is told by one error; what comes after it is heard again."""
    monkeypatch.setattr(libav, "installed", lambda: False)
    for number, (name, content) in enumerate(songs(123, seed=1)):
        if name.endswith(".mp3"):
            file = tmp_path / f"{number}.mp3"
            file.write_bytes(content)
            with contextlib.suppress(InputError):
                read(file)
    os.write(2, b"after")
    assert capfd.readouterr().err == "after"
