"""Sound through libsndfile: in blocks, and all that can be read of a damaged or shortened file."""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from core import Array
from plugins.dataset._audio import flac, mpeg, ogg, vorbis
from plugins.dataset._audio.container import Kind
from plugins.dataset._audio.octets import Excerpt, Octets, Piece

__all__ = ["Loss", "Part", "name_for_libsndfile", "parts"]

#: Frames of stereo that are decoded at once: 0.5 MB.
BLOCK = 1 << 16
#: Frames. libsndfile says 2^63 - 1 of a FLAC whose length is not known.
_LONGEST = 2**62
#: Sizes from here on stand for "unknown": a header written before its stream had an end.
_STREAMED = 0x7FFF_0000
#: libsndfile shortens a cut WAV, AIFF, AU or W64 to what is there, and says so only in its log.
_SHORTENED = re.compile(r"(?:data|SSND|Data Size|riff)\s*:\s*(\d+) \(should be (\d+)\)")
#: Seconds that may be missing without a notice.
_UNTOLD = 0.1
_OPUS_RATE = 48_000
#: Most damages of one file that are skipped, one after the other.
_MOST_DAMAGES = 100

Loss = Callable[[int, int], None]
"""Called with the first frame that could not be decoded, and how many."""


@dataclass(frozen=True)
class Part:
    """Sound of one rate and one number of channels; a file has one, or several laid end to end.

    `frames` is how many its container promises, None where it does not say. `floats` says that it
    stores its samples as floats, which alone can be anything. `blocks` decodes it into
    (time, channel), and ends at the end of what can be decoded. `told` lists its faults, `noted`
    other facts that the user should know, and `missing` counts the frames that are known to be
    missing before any is decoded.
    """

    rate: int
    channels: int
    frames: int | None
    blocks: Callable[[Loss], Generator[Array]]
    floats: bool = False
    told: tuple[str, ...] = ()
    noted: tuple[str, ...] = ()
    missing: int = 0


def name_for_libsndfile(path: Path) -> str | bytes:
    """Return a path that `soundfile` accepts: it fails on text that is not UTF-8."""
    return str(path) if os.name == "nt" else os.fsencode(path)


def parts(path: Path, octets: Octets, kind: Kind) -> list[Part]:
    """Return the parts that libsndfile finds in a file; none where it knows no codec in it.

    Raises the errors of `soundfile` where the file cannot be opened.
    """
    if kind.native == "ogg":
        return _ogg(path, octets, kind)
    if kind.native == "mpeg":
        found = mpeg.runs(octets, kind.start, kind.end)
        files = [_mpeg(path, run) for run in found]
        if not files:  # too short for a row of frames, or a bit rate that no header gives
            part = _part(path, [(kind.start, kind.end)])
            return [replace(part, frames=None)]  # it is an estimate
        if len(files) > 1:
            files[0] = _noting(
                files[0], f"consists of {len(files)} files, end to end: they are read as one"
            )
        return files
    ranges = [(kind.start, kind.end)]
    if kind.native == "flac":
        return [_flac(path, ranges)]
    return [_part(path, None if kind.start == 0 else ranges)]


@functools.cache
def _forward() -> Any:
    """Return the class of a file that is read from its beginning to its end.

    `soundfile` seeks to its own position after every block. A FLAC that begins after damage does
    not support seeking, and its blocks were lost.
    """
    import soundfile

    return type("Forward", (soundfile.SoundFile,), {"seekable": lambda _: False})


@contextmanager
def _opened(source: Path | Excerpt) -> Iterator[Any]:
    """Open a file, or pieces of one, which are closed with it."""
    given = name_for_libsndfile(source) if isinstance(source, Path) else source
    with ExitStack() as opened:
        if isinstance(source, Excerpt):
            opened.enter_context(closing(source))
        yield opened.enter_context(_forward()(given))


def _part(path: Path, pieces: Sequence[Piece] | None) -> Part:
    """Return what one file, or pieces of it, say of themselves."""

    def source() -> Path | Excerpt:
        return path if pieces is None else Excerpt(path, pieces)

    def blocks(_: Loss) -> Generator[Array]:
        with _opened(source()) as file:
            yield from _blocks(file)

    with _opened(source()) as file:
        frames = file.frames if file.frames < _LONGEST else None
        for said, there in _SHORTENED.findall(file.extra_info):
            if 0 < int(there) < int(said) < _STREAMED:
                frames = file.frames * int(said) // int(there)
        floats = file.subtype in {"FLOAT", "DOUBLE"}
        missing = 0 if frames is None else frames - file.frames
        return Part(file.samplerate, file.channels, frames, blocks, floats, missing=missing)


def _blocks(file: Any) -> Iterator[Array]:
    """Yield blocks (time, channel) to the end, or up to the first damage."""
    import numpy as np
    import soundfile

    size = max(1, 2 * BLOCK // file.channels)
    while True:
        # The buffer holds the samples decoded before an error, but nothing gives their number.
        block = np.full((size, file.channels), np.nan, np.float32)
        try:
            got = len(file.read(out=block))
        except soundfile.LibsndfileError:
            empty = np.isnan(block[:, 0])
            got = int(np.argmax(empty)) if empty.any() else size
            if got:
                yield block[:got]
            return
        if got == 0:
            return
        yield block[:got]


def _flac(path: Path, ranges: list[tuple[int, int]]) -> Part:
    whole = None if len(ranges) == 1 and ranges[0][0] == 0 else ranges
    part = _part(path, whole)

    def blocks(lost: Loss) -> Generator[Array]:
        import numpy as np

        done = 0
        for block in part.blocks(lost):
            yield block
            done += len(block)
        for _ in range(_MOST_DAMAGES):
            # Bytes after the last frame are no damage, however long the file.
            resumed = None if done == part.frames else flac.behind(path, ranges, done)
            if resumed is None:
                return
            first, excerpt = resumed
            if part.frames is not None and first >= part.frames:
                return
            lost(done, first - done)
            while done < first:
                gap = min(BLOCK, first - done)
                yield np.zeros((gap, part.channels), np.float32)
                done += gap
            with _opened(excerpt) as file:
                for block in _blocks(file):
                    yield block
                    done += len(block)

    return Part(part.rate, part.channels, part.frames, blocks)


def _ogg(path: Path, octets: Octets, kind: Kind) -> list[Part]:
    links = [link for link in ogg.links(octets, kind.start, kind.end) if link.codec]
    if any(link.codec == "Speex" for link in links):
        return []
    found = [_link(path, octets, link) for link in links if link.pages]
    if found and not links[-1].ended:
        where = "within a page" if links[-1].broken else "without its last page"
        text = f"ends {where}: an Ogg file does not tell how much is missing"
        found[-1] = _with(found[-1], text)
    if found and any(link.others for link in links):
        found[0] = _noting(found[0], "has more than one track of sound: the first is used")
    if len(found) > 1:
        text = f"consists of {len(found)} pieces (a chained Ogg): they are read as one"
        found[0] = _noting(found[0], text)
    return found or [_part(path, [(kind.start, kind.end)])]


def _link(path: Path, octets: Octets, link: ogg.Link) -> Part:
    if link.codec == "FLAC":
        part = _flac(path, link.payload)
    else:
        pieces = vorbis.apart(octets, link) if link.codec == "Vorbis" else link.pages
        part = _part(path, pieces)
    # Positions in Opus are at 48 kHz, whatever it is decoded at (RFC 7845).
    lost = link.lost / (_OPUS_RATE if link.codec == "Opus" else part.rate)
    if lost > _UNTOLD:
        return _with(part, f"is damaged: about {lost:.1f} s in its middle are missing")
    return part


def _mpeg(path: Path, run: mpeg.Run) -> Part:
    counted = run.first.layer == 3 and run.promised != run.frames  # noqa: PLR2004  # has headers
    part = _part(path, run.counted() if counted else run.as_it_is())
    missing = (run.promised or 0) - run.frames
    frames = (part.frames or 0) + max(0, missing) * run.first.samples
    if run.promised is None and not counted:
        frames = min(frames, run.samples)  # it is an estimate
    told = []
    lost = run.junk / run.bytes_a_frame * run.seconds_a_frame
    if lost > _UNTOLD:
        told = [f"is damaged: about {lost:.1f} s in its middle are not MPEG audio and are left out"]
    return replace(part, frames=frames, told=tuple(told))


def _with(part: Part, text: str) -> Part:
    return replace(part, told=(*part.told, text))


def _noting(part: Part, text: str) -> Part:
    return replace(part, noted=(*part.noted, text))
