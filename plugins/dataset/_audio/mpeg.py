"""MPEG audio (MP3, MP2): where its frames lie, how many there are, and what its header says.

libsndfile 1.2 takes the number of frames from a Xing or Info header, and without one from the
file's size and the first frame's bit rate. It gives no sound beyond that number: nearly half of a
file of variable rate without a header was silently lost, and the second of two files laid end to
end. So the frames are counted here, and the decoder gets a header that holds their number.

Frame headers: ISO/IEC 11172-3, 2.4.1.3, and 13818-3; the header of a file: LAME's "Mp3 Info Tag".
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from core import InputError
from plugins.dataset._audio.octets import Octets, Piece

__all__ = ["Run", "after_tags", "runs", "starts"]

#: Kilobits per second, by (MPEG 1, layer) and the index in a frame's header.
_RATES = {
    (True, 1): (32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (True, 2): (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (True, 3): (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (False, 1): (32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (False, 2): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (False, 3): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_MPEG_1, _MPEG_2, _MONO = 3, 2, 3
_HERTZ = (44_100, 48_000, 32_000)
#: Sync, then a valid version, layer, bit rate and sample rate.
_HEAD = re.compile(
    rb"\xff[\xe2-\xe7\xf2-\xf7\xfa-\xff][\x10-\x1b\x20-\x2b\x30-\x3b\x40-\x4b\x50-\x5b"
    rb"\x60-\x6b\x70-\x7b\x80-\x8b\x90-\x9b\xa0-\xab\xb0-\xbb\xc0-\xcb\xd0-\xdb\xe0-\xeb]"
)
#: Tags that follow the last frame: ID3v1, APE and Lyrics3.
_TAG = re.compile(rb"TAG|APETAGEX|LYRICSBE")
#: Consecutive headers that must agree before bytes count as a header.
_IN_A_ROW = 4
#: Most false headers that are checked; after them the rest is no MPEG audio.
_MOST_FALSE = 200_000
_MOST_RUNS = 2000
#: Most bytes before the first frame of a file, and most headers that are tried among them.
_NEAR, _MOST_TRIED = 8192, 64
#: In the header of a file: a flag for each part, the number of frames first, and the parts' sizes.
_FRAMES, _PARTS = 1, (4, 4, 100, 4)
#: In the encoder's block after the parts: offset of the samples added at either end; its size.
_GAPS_AT, _LAME_SIZE = 21, 36
#: Samples at the start that mpg123 drops where a header names an encoder, beside those that the
#: header gives: the delay of a decoder.
_DELAY = 529


@dataclass(frozen=True)
class _Frame:
    """The header of one frame: its four bytes, its size in bytes, what a run has in common."""

    head: bytes
    size: int
    form: tuple[int, int, bool]
    """The bits of version and layer, the sample rate, and whether it is mono."""
    side: int
    """Bytes between the head and the header of a file."""

    layer: int
    rate: int
    samples: int


@dataclass
class Run:
    """Frames of one form, one after the other: a file, or one of several laid end to end.

    `frames` are there, `promised` is what a header said (None without one), `junk` counts the
    bytes between frames.
    """

    first: _Frame
    frames: int = 0
    ranges: list[tuple[int, int]] = field(default_factory=list)
    junk: int = 0
    info: bytes = b""
    """The frame that holds the header of the file, where there is one; it is no sound."""
    mark: int = -1
    """Where in it "Xing", "Info" or "VBRI" stands."""

    def add(self, start: int, end: int) -> None:
        """Take in one more frame."""
        self.frames += 1
        if self.ranges and self.ranges[-1][1] == start:
            self.ranges[-1] = (self.ranges[-1][0], end)
        else:
            self.ranges.append((start, end))

    @property
    def promised(self) -> int | None:
        """Return the number of frames that the header of the file says."""
        if self.info[self.mark : self.mark + 4] == b"VBRI":
            return int.from_bytes(self.info[self.mark + 14 : self.mark + 18], "big") or None
        if self.mark < 0 or not self.info[self.mark + 7] & _FRAMES:
            return None
        return int.from_bytes(self.info[self.mark + 8 : self.mark + 12], "big") or None

    @property
    def seconds_a_frame(self) -> float:
        """Return how long one frame sounds."""
        return self.first.samples / self.first.rate

    @property
    def bytes_a_frame(self) -> float:
        """Return the mean size of a frame."""
        return sum(end - start for start, end in self.ranges) / max(1, self.frames)

    @property
    def gaps(self) -> tuple[int, int] | None:
        """Return how many samples the encoder added at either end, where it says so."""
        if self.mark < 0 or self.info[self.mark : self.mark + 4] == b"VBRI":
            return None
        flags = self.info[self.mark + 7]
        at = self.mark + 8 + sum(size for bit, size in enumerate(_PARTS) if flags >> bit & 1)
        told = int.from_bytes(self.info[at + _GAPS_AT : at + _GAPS_AT + 3], "big")
        return (told >> 12, told & 0xFFF) if self.info[at : at + 1].strip(b"\0") else None

    @property
    def samples(self) -> int:
        """Return how many samples its frames hold, those included that the encoder added."""
        return self.frames * self.first.samples

    def as_it_is(self) -> list[Piece]:
        """Return the run as it stands in the file."""
        return [self.info, *self.ranges]

    def counted(self) -> list[Piece]:
        """Return the run under a header that says how many frames there are.

        With such a header, mpg123 drops a decoder's delay. Where the file does not give the added
        samples, no other player drops it, so a silent frame is put before it.
        """
        if self.gaps is None:
            silence = self._padded(bytes(self.first.side))
            delay = self.first.samples - _DELAY
            return [self._header(self.frames + 1, delay, 0), silence, *self.ranges]
        start, end = self.gaps
        if (self.promised or 0) > self.frames:
            end = 0  # what the encoder added went with the end
        return [self._header(self.frames, start, end), *self.ranges]

    def _header(self, frames: int, start: int, end: int) -> bytes:
        lame = b"Luthier".ljust(_GAPS_AT, b"\0") + (start << 12 | end).to_bytes(3, "big")
        tag = b"Info" + _FRAMES.to_bytes(4, "big") + frames.to_bytes(4, "big") + lame
        return self._padded(bytes(self.first.side) + tag + bytes(_LAME_SIZE))

    def _padded(self, content: bytes) -> bytes:
        """Return a frame of this content, of the first bit rate that has room for it."""
        head = bytearray(self.first.head)
        head[1] |= 1  # without a checksum
        frame = None
        for index in range(1, 15):
            head[2] = index << 4 | head[2] & 0x0C
            frame = _frame(bytes(head))
            if frame is not None and frame.size >= len(head) + len(content):
                break
        assert frame is not None, "every index of a bit rate has a size"
        return (bytes(head) + content).ljust(frame.size, b"\0")


def after_tags(octets: Octets, start: int = 0) -> int:
    """Return the offset after the ID3v2 tags at the file's start, of any size and number."""
    while True:
        head = octets.at(start, 10)
        if len(head) < 10 or head[:3] != b"ID3" or max(head[6:10]) > 127:  # noqa: PLR2004  # ID3v2
            return start
        size = 0
        for byte in head[6:10]:
            size = size << 7 | byte
        start += 10 + size + (10 if head[5] & 0x10 else 0)


def starts(octets: Octets, start: int, end: int) -> bool:
    """Return whether frames of MPEG audio begin here, or within the first few of them."""
    for _ in range(_MOST_TRIED):
        if start + 4 <= end and _row(octets, start, end):
            return True
        start = octets.find(_HEAD, start + 1, min(end, start + _NEAR))
        if start < 0:
            return False
    return False


def runs(octets: Octets, start: int, end: int) -> list[Run]:
    """Return the runs of frames in a range; none where it is no MPEG audio.

    Raises InputError for too many.
    """
    found: list[Run] = []
    place, false, junk = start, 0, 0
    while place + 4 <= end and false < _MOST_FALSE:
        behind = after_tags(octets, place)
        if behind > place:  # of a file that was appended to another
            place = behind
            continue
        run = found[-1] if found else None
        frame = _frame(octets.at(place, 4))
        same = frame is not None and run is not None and frame.form == run.first.form
        # Behind junk, bytes that look like a frame may be more of it.
        if frame is None or not ((same and not junk) or _row(octets, place, end)):
            false += frame is not None
            resumed = octets.find(_HEAD, place + 1, end)
            if resumed < 0:
                break
            junk += resumed - place
            place = resumed
            continue
        whole = octets.at(place, min(frame.size, end - place))
        mark = _mark(whole, frame)
        if run is None or not same or mark >= 0:
            if len(found) == _MOST_RUNS:
                raise InputError(
                    f"MPEG audio of more than {_MOST_RUNS} files, end to end",
                    "cut it into parts, or re-encode it",
                )
            run = Run(frame)
            found.append(run)
        else:
            run.junk += junk
        junk = 0
        if mark >= 0:
            run.info, run.mark = whole, mark
        elif len(whole) < frame.size:  # the last one breaks off
            break
        else:
            run.add(place, place + frame.size)
        place += len(whole)
    return [run for run in found if run.frames]


def _frame(head: bytes) -> _Frame | None:
    """Return the header in a frame's four bytes; None where they are none, or give no size."""
    if _HEAD.match(head) is None or len(head) < 4:  # noqa: PLR2004
        return None
    version, layer = head[1] >> 3 & 3, 4 - (head[1] >> 1 & 3)
    full = version == _MPEG_1
    hertz = _HERTZ[head[2] >> 2 & 3] // {_MPEG_1: 1, _MPEG_2: 2, 0: 4}[version]
    speed = _RATES[full, layer][(head[2] >> 4) - 1] * 1000
    padding, mono = head[2] >> 1 & 1, head[3] >> 6 == _MONO
    # Samples of a frame in MPEG 1; layer III of the other versions has half as many.
    samples = {1: 384, 2: 1152, 3: 1152 if full else 576}[layer]
    size = samples // 8 * speed // hertz + padding
    if layer == 1:
        size = (12 * speed // hertz + padding) * 4
    side = (17 if mono else 32) if full else (9 if mono else 17)
    return _Frame(head, size, (head[1] & 0x1E, hertz, mono), side, layer, hertz, samples)


def _row(octets: Octets, place: int, end: int) -> bool:
    """Return whether frames of one form follow each other from here, up to the end if it is near.

    Near the end two are enough, and the second may break off; one, if a tag or the end follows.
    """
    form = None
    for number in range(_IN_A_ROW):
        if number > 0 and _TAG.match(octets.at(place, 8)):
            return True
        frame = _frame(octets.at(place, 4)) if place + 4 <= end else None
        if frame is None or form not in {None, frame.form}:
            return False
        form = frame.form
        place += frame.size
        if place >= end:
            return number > 0 or place == end
    return True


def _mark(frame: bytes, head: _Frame) -> int:
    """Return where the header of a file stands in a frame; -1 for nowhere."""
    at = 4 + head.side
    if head.layer == 3:  # noqa: PLR2004
        for place in (at, at + 2):  # a checksum may come before it
            if frame[place : place + 4] in {b"Xing", b"Info"} and len(frame) >= place + 8:
                return place
        if frame[36:40] == b"VBRI" and len(frame) >= 54:  # noqa: PLR2004  # fixed by Fraunhofer
            return 36
    return -1
