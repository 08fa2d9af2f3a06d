"""A file's format follows from its content.

FFmpeg's libraries read the formats that libsndfile does not read.
"""

from __future__ import annotations

import contextlib
import gzip
import io
import struct
import zipfile
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np
import pytest
import soundfile

from core import Array, InputError
from plugins.dataset._audio import libav
from plugins.dataset._audio.reading import ENDINGS, check, read
from tests.hostile.plain_sound import wav

if TYPE_CHECKING:
    from pathlib import Path


RATE = 48000
#: File, FFmpeg's codec and container, and the file's format in a diagnosis.
OF_FFMPEG = [
    ("song.m4a", "aac", "ipod", "AAC in MP4"),
    ("lossless.m4a", "alac", "ipod", "ALAC in MP4"),
    ("song.mp4", "libopus", "mp4", "Opus in MP4"),
    ("song.aac", "aac", "adts", "AAC in ADTS"),
    ("song.webm", "libopus", "webm", "Opus in WebM"),
    ("song.mka", "vorbis", "matroska", "Vorbis in Matroska"),
    ("song.wma", "wmav2", "asf", "WMA in ASF"),
    ("song.wv", "wavpack", "wv", "WavPack"),
    ("song.tta", "tta", "tta", "TTA"),
    ("song.ac3", "ac3", "ac3", "AC-3"),
    ("song.avi", "libmp3lame", "avi", "a RIFF file without WAV in it, AVI perhaps"),
    ("song.ts", "aac", "mpegts", "an MPEG transport stream"),
    ("aac.wav", "ac3", "wav", "AC-3 in WAV"),
    ("song.caf", "adpcm_ima_qt", "caf", "IMA ADPCM in CAF"),
]
LOSSLESS = {"alac", "wavpack", "tta"}


def tone(seconds: float = 1.0) -> Array:
    """Return two tones (channel, time), one in each channel."""
    time = np.arange(round(seconds * RATE)) / RATE
    return np.stack([0.3 * np.sin(2 * np.pi * f * time) for f in (440, 997)]).astype(np.float32)


def encoded(file: Path, codec: str, container: str, samples: Array) -> None:
    """Write a file with FFmpeg's libraries."""
    av = pytest.importorskip("av")
    with av.open(file, "w", format=container) as out:
        stream = out.add_stream(codec, rate=RATE)
        stream.layout = "stereo"
        stream.bit_rate = 128_000
        stream.codec_context.options = {"strict": "-2"}
        frame = av.AudioFrame.from_ndarray(samples, format="fltp", layout="stereo")
        frame.sample_rate, frame.pts, frame.time_base = RATE, 0, Fraction(1, RATE)
        forms = [form.name for form in stream.codec_context.codec.audio_formats]
        form = next((f for f in ("s16p", "s16") if f in forms), forms[0])
        stream.codec_context.format = form
        size = stream.codec_context.frame_size or 1024
        resampler = av.AudioResampler(format=form, layout="stereo", rate=RATE, frame_size=size)
        for piece in (*resampler.resample(frame), *resampler.resample(None)):
            out.mux(stream.encode(piece))
        out.mux(stream.encode(None))


@pytest.mark.parametrize(("name", "codec", "container"), [row[:3] for row in OF_FFMPEG])
def test_what_libsndfile_does_not_read_ffmpegs_libraries_do(
    tmp_path: Path, name: str, codec: str, container: str
) -> None:
    """FFmpeg's libraries read the formats that libsndfile lacks.

    Length, rate and the order of the channels are right.
    """
    file = tmp_path / name
    encoded(file, codec, container, tone())
    sound = read(file)
    assert (sound.rate, sound.samples.shape[0], sound.samples.dtype) == (RATE, 2, np.float32)
    assert sound.samples.shape[1] / RATE == pytest.approx(1, abs=0.06)
    assert check(file) / RATE == pytest.approx(1, abs=0.09)
    assert sound.notices == ()
    middle = sound.samples[:, RATE // 4 : 3 * RATE // 4]
    loudest = np.abs(np.fft.rfft(middle * np.hanning(middle.shape[1]))).argmax(1) * 2
    np.testing.assert_allclose(loudest, [440, 997], atol=2)
    if codec in LOSSLESS:
        np.testing.assert_allclose(sound.samples, tone(), atol=2**-14)


@pytest.mark.parametrize(("name", "codec", "container", "title"), OF_FFMPEG)
def test_without_ffmpegs_libraries_the_diagnosis_says_what_to_install(
    tmp_path: Path, name: str, codec: str, container: str, title: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """Without FFmpeg's libraries, the error names the real format and how to install them."""
    encoded(tmp_path / name, codec, container, tone())
    monkeypatch.setattr(libav, "installed", lambda: False)
    file = (tmp_path / name).rename(tmp_path / "called.mp3")
    for look in (check, read):
        with pytest.raises(InputError) as told:
            look(file)
        assert told.value.what == f"`called.mp3` is {title}, which needs FFmpeg's libraries"
        assert "install them: pip install 'luthier[formats]'" in told.value.lines


@pytest.mark.parametrize("true", ["wav", "flac", "ogg", "mp3", "aiff", "caf"])
@pytest.mark.parametrize("claimed", ["wav", "mp3"])
def test_an_ending_that_lies_changes_nothing(tmp_path: Path, true: str, claimed: str) -> None:
    """A file with a wrong ending is read by its content."""
    soundfile.write(tmp_path / f"song.{true}", tone().T, RATE, format=true.upper())
    expected = read(tmp_path / f"song.{true}").samples
    file = (tmp_path / f"song.{true}").rename(tmp_path / f"other.{claimed}")
    np.testing.assert_array_equal(expected, read(file).samples)


def _zipped() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("song.wav", wav())
    return file.getvalue()


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"", "`song.wav` is an empty file"),
        (b"Dear customer,\n\n" * 40, "it is text"),
        (b"<!DOCTYPE html><html>Not found</html>", "it is an HTML page, perhaps"),
        (b"#EXTM3U\nfile:///etc/passwd\n", "it is text"),
        (_zipped(), "it is a ZIP archive"),
        (gzip.compress(wav()), "it is compressed with gzip"),
        (b"MThd\0\0\0\6\0\1\0\1\0\x60MTrk", "it is MIDI: notes, not sound"),
        (b"\x89PNG\r\n\x1a\n" + bytes(60), "it is a picture (PNG)"),
        (b"version https://git-lfs.github.com/spec/v1\n", "it is a Git LFS pointer"),
        (bytes(5000), "it is of an unknown format"),
    ],
)
def test_what_is_no_sound_is_named_for_what_it_is(
    tmp_path: Path, content: bytes, what: str
) -> None:
    """The error for a file without sound names the real kind of the file."""
    file = tmp_path / "song.wav"
    file.write_bytes(content)
    for look in (check, read):
        with pytest.raises(InputError) as told:
            look(file)
        assert what in told.value.what


def test_a_video_without_sound_says_so(tmp_path: Path) -> None:
    """A video without an audio track is refused with this reason."""
    av = pytest.importorskip("av")
    file = tmp_path / "silent.mp4"
    with av.open(file, "w") as out:
        stream = out.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt = 32, 32, "yuv420p"
        picture = av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8), format="rgb24")
        out.mux(stream.encode(picture))
        out.mux(stream.encode(None))
    with pytest.raises(InputError) as told:
        read(file)
    assert "FFmpeg: it has no track of sound" in told.value.lines


PLAIN = [
    ("WAV", "PCM_U8", 32), ("WAV", "PCM_24", 130), ("WAV", "PCM_32", 130), ("WAV", "FLOAT", 130),
    ("WAV", "DOUBLE", 130), ("WAV", "ALAW", 34), ("WAV", "ULAW", 34), ("WAV", "MS_ADPCM", 35),
    ("WAV", "IMA_ADPCM", 35), ("WAVEX", "PCM_16", 80), ("RF64", "PCM_24", 130),
    ("W64", "PCM_16", 80), ("AIFF", "PCM_S8", 32), ("AIFF", "FLOAT", 130), ("AIFF", "ALAW", 34),
    ("AU", "PCM_16", 80), ("AU", "ULAW", 34), ("CAF", "PCM_24", 130), ("CAF", "ALAC_16", 80),
    ("FLAC", "PCM_24", 130), ("OGG", "VORBIS", 20), ("OGG", "OPUS", 15), ("VOC", "PCM_16", 80),
]  # fmt: skip


@pytest.mark.parametrize(("container", "subtype", "decibels"), PLAIN)
@pytest.mark.parametrize("channels", [1, 2])
def test_every_sort_of_samples_comes_out_right(
    tmp_path: Path, container: str, subtype: str, decibels: float, channels: int
) -> None:
    """Every sample format of libsndfile is read to its own precision."""
    file = tmp_path / "song.bin"
    expected = tone()[:channels]
    soundfile.write(file, expected.T, RATE, format=container, subtype=subtype)
    sound = read(file)
    assert (sound.rate, sound.notices) == (RATE, ())
    size = min(expected.shape[1], sound.samples.shape[1])
    error = np.sqrt(np.mean(np.square(expected[:, :size] - sound.samples[:, :size])))
    assert -20 * np.log10(error / 0.21 + 1e-9) > decibels


@pytest.mark.parametrize("rate", [8000, 11025, 96000, 192000])
def test_every_rate_comes_out_right(tmp_path: Path, rate: int) -> None:
    """Files of 8,000 to 192,000 Hz keep their rate and their length."""
    soundfile.write(tmp_path / "song.wav", tone().T[:rate], rate, "PCM_24")
    sound = read(tmp_path / "song.wav")
    assert (sound.rate, sound.samples.shape[1]) == (rate, min(rate, RATE))


def test_gsm_of_a_telephone_is_read(tmp_path: Path) -> None:
    """A WAV file in GSM 6.10, as answering machines store it, is read."""
    speech = 0.3 * np.sin(np.arange(8000) / 8)
    soundfile.write(tmp_path / "call.wav", speech, 8000, "GSM610")
    sound = read(tmp_path / "call.wav")
    assert sound.rate == 8000
    assert sound.samples.shape[0] == 1
    assert np.sqrt(np.mean(sound.samples**2)) == pytest.approx(0.21, abs=0.03)


@pytest.mark.parametrize(
    "before",
    [
        b"junk" + struct.pack("<I", 28) + bytes(28),
        b"bext" + struct.pack("<I", 602) + bytes(602),
        b"LIST" + struct.pack("<I", 13) + b"INFOINAM\1\0\0\0x\0",
        b"odd " + struct.pack("<I", 3) + b"abc\0",
        (b"JUNK" + struct.pack("<I", 0)) * 500,
    ],
)
def test_chunks_before_the_samples_are_passed_over(tmp_path: Path, before: bytes) -> None:
    """Chunks before the samples of a WAV file are skipped.

    They are Broadcast WAV, tags, and chunks of an odd size with a byte of padding.
    """
    (tmp_path / "plain.wav").write_bytes(wav())
    (tmp_path / "song.wav").write_bytes(wav(before=before))
    plain, sound = read(tmp_path / "plain.wav"), read(tmp_path / "song.wav")
    np.testing.assert_array_equal(plain.samples, sound.samples)
    assert sound.notices == ()


def _in_wav(data: bytes, tag: int) -> bytes:
    return wav(48000, 2, 0, tag=tag, align=1, data=data)


def test_mp3_and_ogg_inside_of_wav_are_read(tmp_path: Path) -> None:
    """MP3 and Ogg data inside a WAV file are read."""
    for ending, tag in (("mp3", 0x55), ("ogg", 0x6751)):
        file = tmp_path / f"song.{ending}"
        soundfile.write(file, tone().T, RATE)
        inside = tmp_path / f"{ending}.wav"
        inside.write_bytes(_in_wav(file.read_bytes(), tag))
        np.testing.assert_array_equal(read(file).samples, read(inside).samples)


def test_ffmpeg_is_given_nothing_but_the_file(tmp_path: Path) -> None:
    """A playlist cannot make FFmpeg open another file or address."""
    secret = tmp_path / "secret.wav"
    soundfile.write(secret, tone().T, RATE)
    for number, text in enumerate(
        (
            f"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nfile://{secret}\n#EXT-X-ENDLIST\n",
            f"ffconcat version 1.0\nfile '{secret}'\n",
            f"v=0\nc=IN IP4 127.0.0.1\nm=audio 5004 RTP/AVP 0\na=control:{secret}\n",
        )
    ):
        file = tmp_path / f"{number}.m4a"
        file.write_text(text)
        with pytest.raises(InputError, match="it is text"):
            read(file)


def test_ffmpeg_decodes_no_more_than_is_read(tmp_path: Path) -> None:
    """`max_minutes` bounds a file's stated length before decoding and its sound during decoding."""
    file = tmp_path / "song.m4a"
    encoded(file, "aac", "ipod", tone(3))
    for look in (check, read):
        with pytest.raises(InputError, match="says that it holds") as told:
            look(file, 2 / 60)
        assert told.value.lines[-1] == "or allow it: dataset.max_minutes=1"
    assert read(file, 4 / 60).samples.shape[1] > 3 * RATE - 3000


@pytest.mark.parametrize("share", [0.6, 0.9])
def test_what_ffmpeg_reads_of_a_cut_file_is_told(tmp_path: Path, share: float) -> None:
    """A file that breaks off is played up to the last whole packet, and a notice says so."""
    file = tmp_path / "song.wv"
    encoded(file, "wavpack", "wv", tone(4))
    data = file.read_bytes()
    file.write_bytes(data[: int(share * len(data))])
    sound = read(file)
    assert 0 < sound.samples.shape[1] < 4 * RATE
    assert any("is damaged" in notice.text for notice in sound.notices)


@pytest.mark.parametrize("flip", range(6))
def test_damaged_files_of_ffmpeg_end_in_a_sound_or_one_clear_error(
    tmp_path: Path, flip: int
) -> None:
    """A damaged file for FFmpeg gives finite samples or one clear error.

    FFmpeg's parsers run in a process of their own.
    """
    random = np.random.default_rng(flip)
    name, codec, container, _ = OF_FFMPEG[flip % 3 * 4 % len(OF_FFMPEG)]
    file = tmp_path / name
    encoded(file, codec, container, tone())
    data = bytearray(file.read_bytes())
    for at in random.integers(0, len(data), 20):
        data[at] ^= 1 << int(random.integers(8))
    file.write_bytes(data)
    with contextlib.suppress(InputError):
        assert np.isfinite(read(file).samples).all()


def test_every_ending_is_listed_once() -> None:
    """Every ending for the search in a folder is listed once, in lower case and with a dot."""
    assert len(set(ENDINGS)) == len(ENDINGS)
    assert all(ending == ending.lower() and ending.startswith(".") for ending in ENDINGS)
