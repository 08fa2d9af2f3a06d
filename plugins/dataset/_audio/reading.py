"""Reads an audio file into float32: all that can be read of it, with its faults in words.

Every file that other players play is played. libsndfile reads the formats that it knows
(`libsndfile.py`), FFmpeg's libraries the rest, where they are installed (`libav.py`); the file's
content decides which (`container.py`), not its extension. A notice reports a file that lacks a
tenth of a second or more; the file is refused only where nothing of it can be decoded.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Generator, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from core import Array, InputError, Notice
from core.machine.file_names import as_text
from core.machine.program import quoted
from plugins.dataset._audio import libav, libsndfile
from plugins.dataset._audio.container import Kind, identify
from plugins.dataset._audio.levels import Levels, at
from plugins.dataset._audio.libsndfile import Loss, Part, name_for_libsndfile
from plugins.dataset._audio.limits import (
    CHANNELS,
    MAX_MINUTES,
    check_bound,
    check_length,
    check_rate,
    most_values,
)
from plugins.dataset._audio.octets import Octets
from plugins.dataset._audio.resampling import resample
from plugins.dataset._audio.unheard import unheard

__all__ = [
    "ENDINGS",
    "MAX_MINUTES",
    "OF_VIDEO",
    "Sound",
    "check",
    "check_bound",
    "cut_short",
    "name_for_libsndfile",
    "read",
]

#: Extensions of sound that libsndfile reads, and those that only FFmpeg's libraries read.
_NATIVE = (
    *(".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".mp2", ".aiff", ".aif", ".aifc", ".au"),
    *(".caf", ".w64", ".rf64", ".bwf"),
)
_WITH_FFMPEG = (
    *(".m4a", ".m4b", ".aac", ".mka", ".weba", ".wma", ".wv", ".ape", ".tta", ".mpc", ".ac3"),
    *(".amr", ".spx", ".3ga", ".dsf"),
)
ENDINGS = (*_NATIVE, *_WITH_FFMPEG)
#: Extensions of video; its first track of sound is read where such a file is named itself.
OF_VIDEO = (".mp4", ".m4v", ".mov", ".webm", ".mkv", ".avi", ".ogv", ".3gp", ".mpg", ".flv")
#: Seconds that may be missing without a notice: encoders' padding, which no frame count includes.
_UNTOLD = 0.1
#: Most damages of one file that are reported one by one.
_TOLD = 3


@dataclass(frozen=True)
class Sound:
    """What a file holds: samples (channel, time), nominally within ±1, at `rate` Hz.

    `notices` say what is missing of it, and what was done to samples that no sound has. `whole` is
    false where something of it is missing or lost.
    """

    samples: Array
    rate: int
    notices: tuple[Notice, ...] = ()
    whole: bool = True


def check(path: Path, max_minutes: float = MAX_MINUTES, *, whole: bool = False) -> int:
    """Return the number of frames that the file's container says, or that can be decoded.

    Raises InputError for every file that `read` refuses, so that a plan finds the errors of a run,
    and for more channels than can be fitted. For most files only the first block is decoded. With
    `whole`, a file that is shorter than it says is refused, too: it cannot be a true stem.
    """
    with _opened(path, max_minutes, whole=False) as parts:
        channels = max(part.channels for part in parts)
        if channels > CHANNELS:
            raise InputError(
                f"`{path.name}` has {channels} channels",
                f"at: {path}",
                "possible: mono and stereo; a file does not tell the order of more channels",
                f"mix it down first: ffmpeg -i {quoted([path.name])} -ac {CHANNELS} mixed.wav",
            )
        if whole and any(part.missing for part in parts):
            raise cut_short(path)
        frames = 0
        for part in parts:
            every = part.floats or part.frames is None
            found = Levels(part.rate, part.floats)
            with closing(part.blocks(lambda _first, _count: None)) as blocks:
                for block in blocks:
                    found.add(block)
                    stop = frames + found.frames
                    check_length(path, stop, part.rate, part.channels, max_minutes)
                    if not every:
                        break
            found.check(path.name, f"at: {path}")
            frames += found.frames if every or found.frames == 0 else part.frames or 0
        if frames == 0:
            raise _nothing(path)
    return frames


def read(path: Path, max_minutes: float = MAX_MINUTES) -> Sound:
    """Read all of a file that can be decoded.

    Raises InputError where it is missing, not audio, too long, or holds values that are no samples.
    """
    with _opened(path, max_minutes, whole=True) as parts:
        gathered: list[Sound] = []
        for part in parts:
            before = sum(one.samples.shape[1] / one.rate for one in gathered)
            gathered.append(_gathered(path, part, before, max_minutes))
        if not any(one.samples.shape[1] for one in gathered):
            raise _nothing(path)
        return gathered[0] if len(gathered) == 1 else _joined(path, gathered, max_minutes)


def cut_short(path: Path) -> InputError:
    """Return the error of a file that is not whole, where the whole file is needed."""
    return InputError(
        f"`{path.name}` is cut short or damaged", f"at: {path}", "copy or download it again"
    )


def _nothing(path: Path) -> InputError:
    return InputError(
        f"`{path.name}` holds no samples", f"at: {path}", "give a file of 1 sample or more"
    )


def _gathered(path: Path, part: Part, before: float, max_minutes: float) -> Sound:
    """Decode a part of a file, `before` seconds into it, and judge its samples and its length."""
    import numpy as np

    levels = Levels(part.rate, part.floats, frames=round(before * part.rate))
    losses: list[tuple[int, int]] = []
    samples = np.empty((part.channels, max(part.frames or 0, libsndfile.BLOCK)), np.float32)
    done = 0
    for block in part.blocks(lambda first, count: losses.append((first, count))):
        levels.add(block)
        stop = done + len(block)
        if stop > samples.shape[1]:
            check_length(path, stop, part.rate, part.channels, max_minutes)
            more = np.empty((part.channels, max(stop, samples.shape[1] * 3 // 2)), np.float32)
            more[:, :done] = samples[:, :done]
            samples = more
        samples[:, done:stop] = block.T
        done = stop
    levels.check(path.name, f"at: {path}")
    # A view of the whole array is no copy.
    kept = np.ascontiguousarray(samples[:, :done])
    if not done:
        return Sound(kept, part.rate)
    name = as_text(path.name)
    kept, notices = levels.corrected(kept, name)
    told = [*part.told, *_damages(losses, before, part.rate), *_missing(part, done)]
    warnings = (Notice("warning", f"`{name}` {text}") for text in told)
    noted = (Notice("info", f"`{name}` {text}") for text in part.noted)
    return Sound(kept, part.rate, (*warnings, *noted, *notices), whole=not told)


def _missing(part: Part, done: int) -> Iterator[str]:
    """Yield the messages about a file that ends before its container says."""
    promised = part.frames or 0
    missing = (promised - done) / part.rate
    if missing > _UNTOLD:
        yield (
            f"is cut short or damaged: {done / part.rate:,.1f} s of {promised / part.rate:,.1f} s "
            f"can be decoded and are played; {missing:,.1f} s are missing"
        )


def _damages(losses: list[tuple[int, int]], before: float, rate: int) -> Iterator[str]:
    for first, count in losses[:_TOLD]:
        place = at(before + first / rate)
        yield f"is damaged: {count / rate:.2f} s at {place} are lost and silent"
    if len(losses) > _TOLD:
        yield f"is damaged in {len(losses) - _TOLD} more places, which are silent"


def _joined(path: Path, sounds: list[Sound], max_minutes: float) -> Sound:
    """Return parts as one, at the rate of the first and with the most channels of any."""
    import numpy as np

    rate, channels = sounds[0].rate, max(len(one.samples) for one in sounds)
    if any(len(one.samples) not in {1, channels} for one in sounds):
        counts = ", ".join(sorted({str(len(one.samples)) for one in sounds}))
        raise InputError(
            f"`{path.name}` consists of parts with {counts} channels",
            f"at: {path}",
            f"mix it down first: ffmpeg -i {quoted([path.name])} -ac {CHANNELS} mixed.wav",
        )
    frames = sum(math.ceil(one.samples.shape[1] * rate / one.rate) for one in sounds)
    check_length(path, frames, rate, channels, max_minutes)
    resampled = (resample(one.samples, one.rate, rate) for one in sounds)
    fitted = [np.repeat(one, channels // len(one), axis=0) for one in resampled]
    notices = [notice for one in sounds for notice in one.notices]
    told, whole = tuple(dict.fromkeys(notices)), all(one.whole for one in sounds)
    return Sound(np.concatenate(fitted, axis=1), rate, told, whole)


@contextmanager
def _opened(path: Path, max_minutes: float, *, whole: bool) -> Iterator[list[Part]]:
    """Yield the parts of a file; errors inside the block become InputErrors, too.

    Every part has a possible rate and a length within the limit. Without `whole`, perhaps only
    the first block can be decoded.
    """
    import soundfile

    with ExitStack() as opened:
        try:
            opened.enter_context(unheard())
            parts = _parts(path, _Wanted(max_minutes, whole, opened))
            for part in parts:
                check_rate(path, part.rate)
                check_length(path, part.frames or 0, part.rate, part.channels, max_minutes)
            rate = parts[0].rate
            told = sum((part.frames or 0) * rate / part.rate for part in parts)
            check_length(path, round(told), rate, max(p.channels for p in parts), max_minutes)
            yield parts
        except MemoryError as error:
            raise InputError(
                f"`{path.name}` does not fit into the free memory",
                f"at: {path}",
                "cut it into parts, or use a machine with more memory",
            ) from error
        except FileNotFoundError:
            raise InputError(
                f"`{path}` does not exist", "give a file: input=... or dataset.path=..."
            ) from None
        except (soundfile.LibsndfileError, ValueError) as error:
            # ValueError: soundfile 0.14 counts below 0 frames if an MP3's first one is damaged.
            raise _unreadable(path, _reason(error)) from error
        except OSError as error:
            raise InputError(
                f"`{path.name}` cannot be opened: {error.strerror or error}", f"at: {path}"
            ) from error


@dataclass(frozen=True)
class _Wanted:
    """How much of a file is wanted, and the resources to close after reading."""

    max_minutes: float
    whole: bool
    opened: ExitStack


def _parts(path: Path, wanted: _Wanted) -> list[Part]:
    """Return the parts of a file by the library that reads it."""
    import soundfile

    why = ""
    with path.open("rb") as file:
        octets = Octets(file)
        if octets.size == 0:
            raise InputError(f"`{path.name}` is an empty file", f"at: {path}", "copy it again")
        kind = identify(octets)
        try:
            found = libsndfile.parts(path, octets, kind) if kind.native else []
        except (soundfile.LibsndfileError, ValueError) as error:
            found, why = [], _reason(error)
        except InputError as error:
            what = f"`{path.name}` is {error.what}"
            raise InputError(what, f"at: {path}", *error.lines) from error
    if found:
        return found
    if not kind.libav:
        raise _unreadable(path, f"it is {kind.title}", why)
    return [_with_ffmpeg(path, kind, why, wanted)]


def _with_ffmpeg(path: Path, kind: Kind, why: str, wanted: _Wanted) -> Part:
    """Return the part that FFmpeg reads; `why` is libsndfile's error, if it was tried."""
    if not libav.installed() and why:
        raise InputError(
            f"`{path.name}` cannot be read as audio: {kind.title}",
            f"at: {path}",
            f"libsndfile: {why}",
            "copy or download it again",
            f"or try FFmpeg's libraries: {libav.INSTALL}",
        )
    if not libav.installed():
        raise InputError(
            f"`{path.name}` is {kind.title}, which needs FFmpeg's libraries",
            f"at: {path}",
            f"install them: {libav.INSTALL}",
            f"or re-encode it: ffmpeg -i {quoted([path.name])} song.flac",
        )
    most = most_values(wanted.max_minutes)
    folder = Path(wanted.opened.enter_context(tempfile.TemporaryDirectory(prefix="luthier-")))
    try:
        facts = libav.decoded(path, kind, most if wanted.whole else 0, folder)
        if not wanted.whole and (facts.floats or facts.promised is None):
            facts = libav.decoded(path, kind, most, folder)
    except InputError as error:
        raise InputError(
            f"`{path.name}` cannot be read as audio: {kind.title}",
            f"at: {path}",
            f"libsndfile: {why}" if why else "",
            f"FFmpeg: {'; '.join((error.what, *error.lines))}",
            "copy or download it again, or re-encode it with a program that plays it",
        ) from error
    noted, told = [], []
    if facts.tracks > 1:
        noted.append(f"has {facts.tracks} tracks of sound: the first is used")
    if facts.damaged:
        told.append(f"is damaged: {facts.damaged} packets cannot be decoded, and are left out")

    def blocks(_: Loss) -> Generator[Array]:
        import numpy as np

        # Mapped, and so not twice in memory.
        values = np.memmap(folder / libav.SOUND, np.float32, "r").reshape(-1, facts.channels)
        for start in range(0, len(values), libsndfile.BLOCK):
            yield np.asarray(values[start : start + libsndfile.BLOCK])

    return Part(
        facts.rate, facts.channels, facts.promised, blocks, facts.floats, tuple(told), tuple(noted)
    )


def _reason(error: Exception) -> str:
    """Return a library's reason; decoding errors have no text of their own."""
    text = getattr(error, "error_string", str(error)).strip()
    # libsndfile 1.2.2 says that there is no file where mpg123 finds no frame in it.
    return text if text and "does not exist" not in text else "damaged or cut short"


def _unreadable(path: Path, reason: str, why: str = "") -> InputError:
    return InputError(
        f"`{path.name}` cannot be read as audio: {reason}",
        f"at: {path}",
        f"libsndfile: {why}" if why else "",
        f"readable: {' '.join(ENDINGS)}",
        f"re-encode it: ffmpeg -i {quoted([path.name])} song.wav",
    )
