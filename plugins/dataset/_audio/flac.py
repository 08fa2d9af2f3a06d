"""FLAC: where a stream continues after damaged frames (RFC 9639).

libsndfile 1.2 stops at the first damaged frame of a file. Frames hold their position, so that a
decoder that restarts after the damage puts them in their place.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from plugins.dataset._audio.octets import Excerpt, Octets

__all__ = ["behind"]

_SYNC = re.compile(rb"\xff[\xf8\xf9]")
_INFO_SIZE = 38
#: Most candidate frames that are checked after one damage.
_MOST_TRIED = 100_000


def behind(path: Path, ranges: list[tuple[int, int]], sample: int) -> tuple[int, Excerpt] | None:
    """Return the first sample behind `sample` at which a frame begins, and the file from there.

    `ranges` are where the stream lies in the file. None where there is no such frame.
    """
    whole = Excerpt(path, ranges)
    octets = Octets(whole)  # type: ignore[arg-type]  # only reads and seeks are used
    try:
        head = octets.at(0, 4 + _INFO_SIZE)
        fixed = int.from_bytes(head[8:10], "big")
        for place, first in _frames(octets, fixed):
            if first > sample:
                # The first block of metadata alone, marked as the last.
                start = head[:4] + bytes([head[4] | 0x80]) + head[5:]
                return first, Excerpt(path, [start, *_from(ranges, place)])
        return None
    finally:
        whole.close()


def _from(ranges: list[tuple[int, int]], place: int) -> Iterator[tuple[int, int]]:
    """Yield the ranges of the stream after a place."""
    for start, end in ranges:
        skipped = min(place, end - start)
        place -= skipped
        yield start + skipped, end


def _frames(octets: Octets, fixed: int) -> Iterator[tuple[int, int]]:
    """Yield the start and the first sample of every frame that another frame follows."""
    before: tuple[int, int, int] | None = None
    place = 0
    for _ in range(_MOST_TRIED):
        place = octets.find(_SYNC, place, octets.size)
        if place < 0:
            break
        found = _head(octets.at(place, 16), fixed)
        if found is not None:
            if before is not None and before[1] + before[2] == found[0]:
                yield before[0], before[1]
            before = (place, *found)
        place += 2


def _head(head: bytes, fixed: int) -> tuple[int, int] | None:
    """Return a frame's first sample and its length; None where `head` is no frame header."""
    if len(head) < 16:  # noqa: PLR2004  # the longest head
        return None
    sizes, rates = head[2] >> 4, head[2] & 0x0F
    length = next((n for n in range(8) if not head[4] << n & 0x80), 8)
    if sizes == 0 or rates == 15 or length in {1, 8}:  # noqa: PLR2004  # not allowed
        return None
    number = head[4] & (0x7F >> length)
    for byte in head[5 : 4 + max(1, length)]:
        number = number << 6 | byte & 0x3F
    at = 4 + max(1, length)
    if sizes == 6:  # noqa: PLR2004  # stored in 8 bits
        size, at = head[at] + 1, at + 1
    elif sizes == 7:  # noqa: PLR2004  # stored in 16
        size, at = int.from_bytes(head[at : at + 2], "big") + 1, at + 2
    elif sizes == 1:
        size = 192
    else:
        size = 576 << (sizes - 2) if sizes < 8 else 256 << (sizes - 8)  # noqa: PLR2004
    at += {12: 1, 13: 2, 14: 2}.get(rates, 0)
    if at >= len(head) or _crc8(head[:at]) != head[at]:
        return None
    return (number if head[1] & 1 else number * fixed), size


def _crc8(data: bytes) -> int:
    value = 0
    for byte in data:
        value ^= byte
        for _ in range(8):
            value = value << 1 & 0xFF ^ (0x07 if value & 0x80 else 0)
    return value
