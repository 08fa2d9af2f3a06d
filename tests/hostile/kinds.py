"""Makers of hostile files of one kind, and their collection under the names of the files."""

from __future__ import annotations

import functools
import io
import random
from collections.abc import Callable

__all__ = ["Maker", "collected", "flipped", "true_by_ffmpeg", "true_sound"]

Maker = Callable[[random.Random], bytes]
"""Returns a file of one kind, its numbers drawn from the source."""


def collected(makers: dict[str, Maker], name: str) -> Callable[[Maker], Maker]:
    """Return a decorator that puts a maker under the name of its files."""
    return lambda make: makers.setdefault(name, make)


def flipped(data: bytes, source: random.Random, first: int = 0, last: int | None = None) -> bytes:
    """Return the data with 1 to 8 of its bits flipped."""
    changed = bytearray(data)
    for _ in range(source.randint(1, 8)):
        place = source.randrange(first, min(len(data), last or len(data)))
        changed[place] ^= 1 << source.randrange(8)
    return bytes(changed)


@functools.cache
def true_sound(ending: str) -> bytes:
    """Return a valid file of a format: a short sine, as libsndfile writes it."""
    import numpy as np
    import soundfile

    how: dict[str, dict[str, str]] = {
        "opus": {"format": "OGG", "subtype": "OPUS"},
        "aifc": {"format": "AIFF", "subtype": "FLOAT"},
    }
    rate = 48000 if ending == "opus" else 44100
    tone = 0.1 * np.sin(np.arange(rate // 10) / 20)
    file = io.BytesIO()
    soundfile.write(file, np.stack([tone, tone], 1), rate, **how.get(ending, {"format": ending}))
    return file.getvalue()


@functools.cache
def true_by_ffmpeg(container: str, codec: str) -> bytes:
    """Return a valid file of a format that libsndfile does not have, as FFmpeg writes it."""
    import av
    import numpy as np

    file = io.BytesIO()
    with av.open(file, "w", format=container) as out:
        stream = out.add_stream(codec, rate=48_000, layout="stereo")
        tone = np.tile(0.1 * np.sin(np.arange(9600) / 20), (2, 1)).astype(np.float32)
        frame = av.AudioFrame.from_ndarray(tone, format="fltp", layout="stereo")
        frame.sample_rate = 48_000
        form = stream.codec_context.format.name
        resampler = av.AudioResampler(
            form, "stereo", 48_000, stream.codec_context.frame_size or 960
        )
        for piece in (*resampler.resample(frame), None):
            out.mux(stream.encode(piece))
    return file.getvalue()
