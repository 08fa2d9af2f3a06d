"""Reads an audio file into float32, and turns every way to fail into one clear error."""

from __future__ import annotations

import math
import os
import re
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from core import InputError
from plugins.dataset.audio.unheard import unheard

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from soundfile import SoundFile

    from core.values import Array

__all__ = [
    "ENDINGS",
    "MAX_MINUTES",
    "Sound",
    "check",
    "check_bound",
    "name_for_libsndfile",
    "read",
]

#: What the libsndfile inside `soundfile` reads (1.2, checked file by file).
ENDINGS = (
    ".wav",
    ".flac",
    ".ogg",
    ".oga",
    ".opus",
    ".mp3",
    ".aiff",
    ".aif",
    ".aifc",
    ".au",
    ".caf",
    ".w64",
    ".rf64",
)
#: Hz. A damaged header can hold any number, and resampling from it would fill the memory.
RATES = (1_000, 768_000)
#: A song has no more: which of more channels is which, a file does not tell surely.
CHANNELS = 2
#: Minutes of stereo at 48 kHz that are read at most, unless an option says otherwise: 5.5 GB. A
#: few hundred kilobytes of compressed silence can stand for days of it.
MAX_MINUTES = 240.0
#: Values a second of stereo at 48 kHz; sound of more values is that much "longer".
_USUAL = 2 * 48_000
#: MP3 headers leave out the delay of encoder and decoder: up to two frames are no loss.
_SLACK = {"MP3": 2 * 1152}
#: Frames. libsndfile says 2^63 - 1 of a FLAC whose length is not known.
_LONGEST = 2**62
#: Sizes from here on stand for "unknown": a header written before its stream had an end.
_STREAMED = 0x7FFF_0000
#: libsndfile shortens a cut WAV, AIFF, AU or W64 to what is there, and says so only in its log.
_SHORTENED = re.compile(r"(?:data|SSND|Data Size|riff)\s*:\s*(\d+) \(should be (\d+)\)")


@dataclass(frozen=True)
class Sound:
    """What a file holds: samples (channel, time), nominally within ±1, at `rate` Hz."""

    samples: Array
    rate: int


def check_bound(minutes: float) -> None:
    """Raise ValueError for an option `max_minutes` that bounds nothing."""
    if not 0 < minutes < math.inf:
        raise ValueError(f"`max_minutes` is {minutes}: give a number above 0")


def check(path: Path, max_minutes: float = MAX_MINUTES) -> int:
    """Return the number of frames, from the header and the last frame alone.

    Raises InputError as `read` does, so that a plan finds what a run would stumble over: what is
    no audio, empty or cut short. Values that are no numbers only `read` finds.
    """
    with _opened(path, max_minutes) as file:
        if file.channels > CHANNELS:
            raise InputError(
                f"`{path.name}` has {file.channels} channels",
                f"at: {path}",
                "possible: mono and stereo; which of more channels is which, a file does not tell",
                f"mix it down first: ffmpeg -i {path.name} -ac {CHANNELS} mixed.wav",
            )
        said = int(file.frames)
        _check_whole(path, file, said if _has_end(file) else 0)
    return said


def _has_end(file: SoundFile) -> bool:
    """Say whether the last frame can be decoded; the place of an MP3's is not exactly known."""
    import soundfile

    try:
        file.seek(max(0, file.frames - 1 - _SLACK.get(file.format, 0)))
        return len(file.read(1)) == 1
    except soundfile.LibsndfileError:
        return False


def read(path: Path, max_minutes: float = MAX_MINUTES) -> Sound:
    """Read a whole file; raises InputError where it is missing, damaged, too long or no audio."""
    import numpy as np

    with _opened(path, max_minutes) as file:
        samples = file.read(dtype="float32", always_2d=True)
        _check_whole(path, file, len(samples))
        rate = int(file.samplerate)
    broken = int(samples.size - np.isfinite(samples).sum())
    if broken:
        raise InputError(
            f"`{path.name}` holds values that are not numbers (NaN or infinite)",
            f"at: {path}",
            f"{broken} of {samples.size} values",
            "render it again, or repair it in an audio editor",
        )
    return Sound(np.ascontiguousarray(samples.T), rate)


@contextmanager
def _opened(path: Path, max_minutes: float) -> Iterator[SoundFile]:
    """Open a file of a possible rate and length; what fails in the block is an InputError too."""
    import soundfile

    try:
        if path.stat().st_size == 0:
            raise InputError(f"`{path.name}` is an empty file", f"at: {path}", "copy it again")
        with unheard(), soundfile.SoundFile(name_for_libsndfile(path)) as file:
            if not RATES[0] <= file.samplerate <= RATES[1]:
                raise InputError(
                    f"`{path.name}` says that its sample rate is {file.samplerate} Hz",
                    f"at: {path}",
                    f"possible: {RATES[0]} to {RATES[1]} Hz",
                    "re-encode it at its true rate",
                )
            if file.frames > _LONGEST:
                raise InputError(
                    f"`{path.name}` does not say how long it is",
                    f"at: {path}",
                    "it was streamed into a file, and its header never completed",
                    f"re-encode it: ffmpeg -i {path.name} song.wav",
                )
            _check_duration(path, file, max_minutes)
            yield file
    except MemoryError as error:
        raise InputError(
            f"`{path.name}` does not fit into the memory that is free",
            f"at: {path}",
            "cut it into parts, or play it where there is more memory",
        ) from error
    except FileNotFoundError:
        raise InputError(
            f"`{path}` does not exist", "give a file: input=... or dataset.path=..."
        ) from None
    except ValueError as error:
        # Where the first frame of an MP3 is damaged, soundfile 0.14 counts fewer than 0 frames.
        raise InputError(
            f"`{path.name}` cannot be read as audio: damaged", f"at: {path}", f"reason: {error}"
        ) from error
    except soundfile.LibsndfileError as error:
        # Decoding errors carry no text of their own.
        reason = error.error_string.strip() or "damaged or cut short"
        raise InputError(
            f"`{path.name}` cannot be read as audio: {reason}",
            f"at: {path}",
            f"readable: {' '.join(ENDINGS)}",
            f"re-encode it: ffmpeg -i {path.name} song.wav",
        ) from error
    except OSError as error:
        raise InputError(
            f"`{path.name}` cannot be opened: {error.strerror or error}", f"at: {path}"
        ) from error


def name_for_libsndfile(path: Path) -> str | bytes:
    """Return a path as `soundfile` takes it; it fails on a name in text that is no UTF-8."""
    return str(path) if os.name == "nt" else os.fsencode(path)


def _check_duration(path: Path, file: SoundFile, max_minutes: float) -> None:
    """Raise InputError for more sound than is read, before any of it is decoded."""
    seconds = max(file.frames / file.samplerate, file.frames * file.channels / _USUAL)
    if seconds <= 60 * max_minutes:
        return
    told = f"{file.frames / file.samplerate / 60:,.0f} minutes at {file.samplerate:,} Hz"
    raise InputError(
        f"`{path.name}` says that it holds {told}, in a file of {_size(path)}",
        f"at: {path}",
        f"possible: up to {max_minutes:g} minutes of stereo at 48,000 Hz, or as much memory: 23 MB "
        "a minute for the song, and as much again for every stem",
        f"cut it into parts: ffmpeg -i {path.name} -f segment -segment_time 3600 part%03d.wav",
        f"or allow it: dataset.max_minutes={math.ceil(seconds / 60)}",
    )


def _size(path: Path) -> str:
    size = path.stat().st_size
    return f"{size / 1e6:,.1f} MB" if size >= 1e5 else f"{size:,} bytes"  # noqa: PLR2004  # 0.1 MB


def _check_whole(path: Path, file: SoundFile, frames: int) -> None:
    """Raise InputError for a file without frames, or with fewer than its header says."""
    if frames == 0 and file.frames == 0:
        raise InputError(
            f"`{path.name}` holds no samples", f"at: {path}", "give a file of 1 sample or more"
        )
    if file.format == "MP3" and not _counts_its_frames(path):
        return  # its length is an estimate from the bit rate: being shorter proves nothing
    lost = ""
    if frames + _SLACK.get(file.format, 0) < file.frames:
        lost = f"{frames} of {file.frames} samples can be read" if frames else "its end is missing"
    for said, there in _SHORTENED.findall(file.extra_info):
        if int(there) < int(said) < _STREAMED:
            lost = f"{there} of {said} bytes are there"
    if lost:
        raise InputError(
            f"`{path.name}` is cut short: {lost}",
            f"at: {path}",
            "copy or download it again",
            f"or keep what is there: ffmpeg -i {path.name} rest.wav",
        )


def _counts_its_frames(path: Path) -> bool:
    """Say whether an MP3 begins with a count of its frames (Xing, Info or VBRI), past any ID3."""
    with path.open("rb") as file:
        head = file.read(10)
        if head[:3] == b"ID3":
            # The size of an ID3v2 tag: four bytes of seven bits each.
            size = 0
            for byte in head[6:10]:
                size = size << 7 | byte
            file.seek(10 + size)
        else:
            file.seek(0)
        frame = file.read(2048)
    return any(mark in frame for mark in (b"Xing", b"Info", b"VBRI"))
