"""Previews and spectrograms show the content of the file."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import soundfile

from plugins.reporter._html_run import sound

RATE = 44100


@pytest.fixture
def tone(tmp_path: Path) -> Path:
    """Write four seconds of silence, with 1 kHz in the third second."""
    time = np.arange(4 * RATE) / RATE
    wave = np.where((time >= 2) & (time < 3), np.sin(2 * np.pi * 1000 * time), 0) * 0.5
    soundfile.write(tmp_path / "tone.wav", np.stack([wave, wave], axis=1), RATE)
    return tmp_path / "tone.wav"


def test_a_preview_is_cut_from_the_middle(tone: Path) -> None:
    """A preview of two seconds is the middle of a file of four seconds."""
    clip = sound.read(tone, 2.0)
    assert (clip.start, clip.seconds, clip.whole) == (1.0, 2.0, 4.0)
    assert np.abs(clip.mono[:RATE]).max() == 0
    assert np.abs(clip.mono[RATE:]).max() == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize("codec", sound.CODECS)
def test_a_preview_decodes_to_the_same_sound(tone: Path, codec: str) -> None:
    """A preview keeps rate and loudness; lossy codecs may add some milliseconds."""
    clip = sound.read(tone, 30.0)
    _, content = sound.encode(clip, codec, stereo=False)
    samples, rate = soundfile.read(io.BytesIO(content))
    assert rate == RATE
    assert len(samples) == pytest.approx(4 * RATE, abs=4000)
    loud = np.square(samples).sum() / np.square(clip.mono).sum()
    assert loud == pytest.approx(1, abs=0.1)


def test_a_tone_is_drawn_where_it_sounds(tone: Path) -> None:
    """A tone's brightest column and band are at its time and its frequency."""
    clip = sound.read(tone, 30.0)
    power = sound.mel_power(clip.mono, clip.rate)
    band, column = np.unravel_index(int(power.argmax()), power.shape)
    assert 0.5 < column / power.shape[1] < 0.75
    low, high = (2595 * np.log10(1 + f / 700) for f in (40, 16000))
    hertz = 700 * (10 ** ((low + (band + 1) * (high - low) / 113) / 2595) - 1)
    assert hertz == pytest.approx(1000, rel=0.06)


def test_the_picture_is_a_valid_png(tone: Path) -> None:
    """The picture is a valid PNG with fitting header, palette, rows and checksums."""
    clip = sound.read(tone, 30.0)
    power = sound.mel_power(clip.mono, clip.rate)
    png = sound.picture(power, float(power.max()))
    assert png.startswith(b"\x89PNG\r\n\x1a\n")
    chunks, at = {}, 8
    while at < len(png):
        size, name = struct.unpack(">I4s", png[at : at + 8])
        chunks[name] = png[at + 8 : at + 8 + size]
        (check,) = struct.unpack(">I", png[at + 8 + size : at + 12 + size])
        assert check == zlib.crc32(name + chunks[name])
        at += 12 + size
    width, height = struct.unpack(">II", chunks[b"IHDR"][:8])
    assert (height, width) == power.shape
    assert len(chunks[b"PLTE"]) == 3 * 256
    assert len(zlib.decompress(chunks[b"IDAT"])) == height * (width + 1)


@pytest.mark.parametrize("frames", [0, 1, 500])
def test_a_tiny_or_silent_sound_is_still_drawn(tmp_path: Path, frames: int) -> None:
    """An empty, tiny or silent file still has a player and a picture."""
    soundfile.write(tmp_path / "tiny.wav", np.zeros((frames, 1)), 8000)
    clip = sound.read(tmp_path / "tiny.wav", 30.0)
    power = sound.mel_power(clip.mono, clip.rate)
    assert sound.picture(power, 0.0).startswith(b"\x89PNG")
    assert np.isfinite(power).all()
    assert sound.encode(clip, "ogg", stereo=True)[0] == "audio/ogg"
