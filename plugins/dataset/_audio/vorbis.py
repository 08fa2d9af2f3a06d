"""Vorbis in Ogg: headers that share their last page with sound (Vorbis I specification, A.2).

The sound must begin on a page of its own. Where an encoder continues on the page of the headers,
libsndfile 1.2.2 loses the sound of that page, a third of a second, without an error.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

from plugins.dataset._audio.octets import Octets, Piece
from plugins.dataset._audio.ogg import Link

__all__ = ["apart", "page"]

_HEAD, _MOST_SEGMENTS, _CONTINUED = 27, 255, 1
#: Packets of headers: who made it, comments, and how to decode; the first has a page of its own.
_HEADERS = 3
#: Pages among which the headers end: comments hold pictures of some megabytes at most.
_MOST_PAGES = 1000


def apart(octets: Octets, link: Link) -> Sequence[Piece]:
    """Return the pages of a stream with its headers on pages of their own.

    The headers move to the page before, where they fit; any other stream stays unchanged.
    """
    start, end = link.pages[0]
    before: tuple[int, bytes, bytes] | None = None
    ended, place = 0, start
    for _ in range(_MOST_PAGES):
        head, segments, body = _at(octets, place)
        stop = place + _HEAD + len(segments) + len(body)
        if len(head) < _HEAD or stop > end:
            break
        ends = [index for index, length in enumerate(segments) if length < 255]  # noqa: PLR2004
        if ended + len(ends) < _HEADERS:
            ended += len(ends)
            before, place = (place, segments, body), stop
            continue
        last = ends[_HEADERS - ended - 1] + 1
        moved = sum(segments[:last])
        if last == len(segments) or before is None or before[0] == start:
            break
        if len(before[1]) + last > _MOST_SEGMENTS:
            break
        earlier = octets.at(before[0], _HEAD)
        headers = page(earlier, before[1] + segments[:last], before[2] + body[:moved])
        own = head[:5] + bytes([head[5] & ~_CONTINUED]) + head[6:]
        sound = page(own, segments[last:], body[moved:])
        return [(start, before[0]), headers, sound, (stop, end), *link.pages[1:]]
    return link.pages


def page(head: bytes, segments: bytes, body: bytes) -> bytes:
    """Return a page with the flags, place, stream and number of `head`, and other segments."""
    made = bytearray(head[:22] + bytes(4) + bytes([len(segments)]) + segments + body)
    made[22:26] = _checked(made).to_bytes(4, "little")
    return bytes(made)


def _at(octets: Octets, place: int) -> tuple[bytes, bytes, bytes]:
    """Return the head of the page at a place, the lengths of its segments, and what is in them."""
    head = octets.at(place, _HEAD)
    if len(head) < _HEAD or not head.startswith(b"OggS"):
        return b"", b"", b""
    segments = octets.at(place + _HEAD, head[26])
    return head, segments, octets.at(place + _HEAD + len(segments), sum(segments))


def _checked(made: bytearray) -> int:
    """Return the checksum of a page whose own field for it is zero (RFC 3533, 6)."""
    table, found = _table(), 0
    for byte in made:
        found = (found << 8 & 0xFFFFFFFF) ^ table[(found >> 24) ^ byte]
    return found


@functools.cache
def _table() -> tuple[int, ...]:
    found = []
    for byte in range(256):
        value = byte << 24
        for _ in range(8):
            value = (value << 1 & 0xFFFFFFFF) ^ (0x04C11DB7 if value & 0x80000000 else 0)
        found.append(value)
    return tuple(found)
