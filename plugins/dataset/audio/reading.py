"""Reads an audio file into float32, and turns every way to fail into one clear error."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from core import InputError

if TYPE_CHECKING:
    from pathlib import Path

    from soundfile import SoundFile

    from core.values import Array

__all__ = ["ENDINGS", "Sound", "read"]

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
#: MP3 headers leave out the delay of encoder and decoder: up to two frames are no loss.
_SLACK = {"MP3": 2 * 1152}
#: Sizes from here on stand for "unknown": a header written before its stream had an end.
_STREAMED = 0x7FFF_0000
#: libsndfile shortens a cut WAV, AIFF, AU or W64 to what is there, and says so only in its log.
_SHORTENED = re.compile(r"(?:data|SSND|Data Size|riff)\s*:\s*(\d+) \(should be (\d+)\)")


@dataclass(frozen=True)
class Sound:
    """What a file holds: samples (channel, time), nominally within ±1, at `rate` Hz."""

    samples: Array
    rate: int


def read(path: Path) -> Sound:
    """Read a whole file; raises InputError where it is missing, damaged or no audio."""
    import numpy as np
    import soundfile

    try:
        if path.stat().st_size == 0:
            raise InputError(f"`{path.name}` is an empty file", f"at: {path}", "copy it again")
        with soundfile.SoundFile(path) as file:
            samples = file.read(dtype="float32", always_2d=True)
            _check_whole(path, file, len(samples))
            rate = int(file.samplerate)
    except FileNotFoundError:
        raise InputError(f"`{path}` does not exist", "give a file: dataset.path=...") from None
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
    if not RATES[0] <= rate <= RATES[1]:
        raise InputError(
            f"`{path.name}` says that its sample rate is {rate} Hz",
            f"at: {path}",
            f"possible: {RATES[0]} to {RATES[1]} Hz",
            "re-encode it at its true rate",
        )
    broken = int(samples.size - np.isfinite(samples).sum())
    if broken:
        raise InputError(
            f"`{path.name}` holds values that are not numbers (NaN or infinite)",
            f"at: {path}",
            f"{broken} of {samples.size} values",
            "render it again, or repair it in an audio editor",
        )
    return Sound(np.ascontiguousarray(samples.T), rate)


def _check_whole(path: Path, file: SoundFile, frames: int) -> None:
    """Raise InputError for a file without frames, or with fewer than its header says."""
    if frames == 0 and file.frames == 0:
        raise InputError(
            f"`{path.name}` holds no samples", f"at: {path}", "give a file of 1 sample or more"
        )
    lost = ""
    if frames + _SLACK.get(file.format, 0) < file.frames:
        lost = f"{frames} of {file.frames} samples can be read"
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
