"""Sound for a page: a preview small enough to embed, and a spectrogram of it as a PNG.

Imported when a report is written, never when plugins are listed.
"""

from __future__ import annotations

import io
import struct
import zlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import soundfile

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["CODECS", "Clip", "encode", "mel_power", "picture", "read"]

#: Per codec: libsndfile's format and subtype, its effort from 0 to 1, and the MIME type.
CODECS = {
    "ogg": ("OGG", "VORBIS", 0.6, "audio/ogg"),
    "flac": ("FLAC", "PCM_16", 0.5, "audio/flac"),
    "mp3": ("MP3", "MPEG_LAYER_III", 0.6, "audio/mpeg"),
}
#: libsndfile 1.2 overflows the stack on one long Vorbis write, so it gets blocks (samples).
BLOCK = 1 << 14
FFT, COLUMNS, BANDS = 2048, 960, 112
LOWEST_HZ, HIGHEST_HZ = 40.0, 16000.0
RANGE_DB = 78.0

#: Nine points of matplotlib's `magma` (CC0), perceptually uniform, dark to light.
MAGMA = (
    (0, 0, 4), (28, 16, 68), (79, 18, 123), (129, 37, 129), (181, 54, 122),
    (229, 80, 100), (251, 135, 97), (254, 194, 135), (252, 253, 191),
)  # fmt: skip


@dataclass(frozen=True)
class Clip:
    """The part of a file that a report plays: samples (time, channel), and where it lies (s)."""

    samples: NDArray[np.float32]
    rate: int
    start: float
    whole: float

    @property
    def seconds(self) -> float:
        """Return the length of the clip."""
        return len(self.samples) / self.rate

    @cached_property
    def mono(self) -> NDArray[np.float32]:
        """Return the mean of the channels (time,)."""
        channels = self.samples.shape[1]
        mean: NDArray[np.float32] = self.samples @ np.full(channels, 1 / channels, np.float32)
        return mean


def read(path: Path, seconds: float) -> Clip:
    """Read the middle `seconds` of a sound file, all of it where it is shorter."""
    with soundfile.SoundFile(path) as file:
        wanted = min(file.frames, round(seconds * file.samplerate))
        first = (file.frames - wanted) // 2
        file.seek(first)
        samples = file.read(wanted, dtype="float32", always_2d=True)
        rate = file.samplerate
        return Clip(samples, rate, first / rate, file.frames / rate)


def encode(clip: Clip, codec: str, *, stereo: bool) -> tuple[str, bytes]:
    """Return MIME type and bytes of the clip, compressed; mono takes half the time and room."""
    kind, subtype, effort, mime = CODECS[codec]
    samples: NDArray[Any] = clip.samples if stereo else clip.mono[:, None]
    samples = np.ascontiguousarray(np.clip(np.nan_to_num(samples), -1, 1))
    buffer = io.BytesIO()
    with soundfile.SoundFile(
        buffer, "w", clip.rate, samples.shape[1], subtype, format=kind, compression_level=effort
    ) as file:
        for start in range(0, len(samples), BLOCK):
            file.write(samples[start : start + BLOCK])
    return mime, buffer.getvalue()


def mel_power(mono: NDArray[np.float32], rate: int) -> NDArray[np.float32]:
    """Return the power spectrogram (band, column) on the mel scale, Hann windows of 2,048."""
    padded = np.pad(np.nan_to_num(mono), (FFT // 2, FFT))
    columns = min(COLUMNS, max(1, len(mono) // 256))
    starts = np.linspace(0, max(0, len(mono) - 1), columns).astype(int)
    frames = np.lib.stride_tricks.sliding_window_view(padded, FFT)[starts]
    spectrum = np.fft.rfft(frames * np.hanning(FFT).astype(np.float32), axis=1)
    power = (spectrum.real**2 + spectrum.imag**2).astype(np.float32)
    return np.ascontiguousarray((power @ _bands(rate)).T)


def picture(power: NDArray[np.float32], loudest: float) -> bytes:
    """Return a spectrogram as PNG; `loudest` is the power drawn white, shared by all tracks."""
    db = 10 * np.log10(power / max(loudest, 1e-12) + 10 ** (-RANGE_DB / 10))
    shades = np.clip(255 * (1 + db / RANGE_DB), 0, 255).astype(np.uint8)[::-1]
    return _png(shades)


def _bands(rate: int) -> NDArray[np.float32]:
    """Return triangular filters (bin, band), O'Shaughnessy's mel: 2595·log10(1 + f/700)."""
    top = min(HIGHEST_HZ, rate / 2)
    ends = 2595 * np.log10(1 + np.array([min(LOWEST_HZ, top / 2), top]) / 700)
    edges = 700 * (10 ** (np.linspace(ends[0], ends[1], BANDS + 2) / 2595) - 1)
    bins = np.fft.rfftfreq(FFT, 1 / rate)[:, None]
    # A low band is narrower than a bin: widen it to one, or its row stays black.
    low = np.minimum(edges[:-2], edges[1:-1] - rate / FFT)
    high = np.maximum(edges[2:], edges[1:-1] + rate / FFT)
    rising, falling = (bins - low) / (edges[1:-1] - low), (high - bins) / (high - edges[1:-1])
    weights = np.clip(np.minimum(rising, falling), 0, None)
    bands: NDArray[np.float32] = (weights / weights.sum(axis=0)).astype(np.float32)
    return bands


def _png(shades: NDArray[np.uint8]) -> bytes:
    """Return shades (row, column) as a PNG with 256 colours."""
    height, width = shades.shape
    points = np.linspace(0, 255, len(MAGMA))
    colours = np.stack(
        [np.interp(np.arange(256), points, channel) for channel in zip(*MAGMA, strict=True)], axis=1
    ).astype(np.uint8)
    rows = np.zeros((height, width + 1), np.uint8)  # every row begins with its filter type, none
    rows[:, 1:] = shades
    return b"".join(
        (
            b"\x89PNG\r\n\x1a\n",
            _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)),
            _chunk(b"PLTE", colours.tobytes()),
            _chunk(b"IDAT", zlib.compress(rows.tobytes(), 4)),
            _chunk(b"IEND", b""),
        )
    )


def _chunk(name: bytes, content: bytes) -> bytes:
    return (
        struct.pack(">I", len(content))
        + name
        + content
        + struct.pack(">I", zlib.crc32(name + content))
    )
