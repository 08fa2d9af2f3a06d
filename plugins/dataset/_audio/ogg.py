"""Ogg: the links of a chain, and the pages of one stream of sound among others (RFC 3533).

libsndfile 1.2 reads only the first link of a chain, so that the second of two songs in one file is
silently lost; and it rejects a file in which pictures or text lie between the sound.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from core import InputError
from plugins.dataset._audio.octets import Octets

__all__ = ["Link", "links"]

#: The first bytes of a stream's first packet, and what it holds.
_CODECS = {
    b"\x01vorbis": "Vorbis",
    b"OpusHead": "Opus",
    b"\x7fFLAC": "FLAC",
    b"Speex   ": "Speex",
}
#: Most links that are read: a day of a radio station has hundreds, and each needs its own decoder.
_MOST_LINKS = 2000
_CONTINUED, _FIRST, _LAST = 1, 2, 4
_HEAD = 27
_MARK = re.compile(rb"OggS\x00[\x00-\x07]")
#: Bytes of an Ogg FLAC's first packet before the native stream: mark, version, number.
_FLAC_PREFIX = 9


@dataclass
class Link:
    """One link of a chain: its stream of sound, or what else it holds.

    `pages` are the ranges of the stream's pages and `payload` those of what is in them. `ended`
    says that its last page is there, `broken` that the file breaks off within a page, `others` how
    many streams of sound there are beside it.
    """

    codec: str = ""
    pages: list[tuple[int, int]] = field(default_factory=list)
    payload: list[tuple[int, int]] = field(default_factory=list)
    ended: bool = False
    broken: bool = False
    others: int = 0
    serial: int = -1
    lost: int = 0
    """Samples that lay on pages that are not there, by the numbers of those that are."""
    number: int = -1
    place: int = 0
    usual: int = 0

    def count(self, number: int, place: int) -> None:
        """Record the number of a page, and the last sample on it; -1 where none ends there."""
        if place < 0:
            return
        new = place - self.place
        if self.number >= 0 and number > self.number + 1 and self.usual:
            self.lost += max(0, new - self.usual)
        elif new > 0:
            self.usual = new
        self.number, self.place = number, place


def links(octets: Octets, start: int, end: int) -> list[Link]:
    """Return the links of the Ogg file that lies in a range; raises InputError for too many."""
    found: list[Link] = []
    heads = False
    for page in _pages(octets, start, end):
        if page.flags & _FIRST:
            if not heads:
                found.append(Link())
                heads = True
            if len(found) > _MOST_LINKS:
                raise InputError(
                    f"an Ogg file of more than {_MOST_LINKS} links, one after the other",
                    "cut it into parts, or re-encode it",
                )
            _head(octets, found[-1], page)
        else:
            heads = False
        link = found[-1] if found else None
        if link is None or page.serial != link.serial:
            continue
        link.broken = page.end > end
        if link.broken:
            continue
        link.ended = bool(page.flags & _LAST)
        link.count(page.number, page.place)
        _append(link.pages, (page.start, page.end))
        skipped = _FLAC_PREFIX if page.flags & _FIRST and link.codec == "FLAC" else 0
        _append(link.payload, (page.body + skipped, page.end))
    return found


@dataclass(frozen=True)
class _Page:
    start: int
    body: int
    end: int
    flags: int
    serial: int
    number: int
    place: int


def _pages(octets: Octets, start: int, end: int) -> Iterator[_Page]:
    """Yield every page of a range; the last may end after it. Bytes between pages are skipped."""
    while True:
        start = octets.find(_MARK, start, end)
        if start < 0:
            return
        head = octets.at(start, _HEAD + 255)
        if len(head) < _HEAD or len(head) < _HEAD + head[26]:
            return
        body = start + _HEAD + head[26]
        size = sum(head[_HEAD : _HEAD + head[26]])
        serial, number = (int.from_bytes(head[at : at + 4], "little") for at in (14, 18))
        place = int.from_bytes(head[6:14], "little", signed=True)
        yield _Page(start, body, body + size, head[5], serial, number, place)
        start = body + size


def _head(octets: Octets, link: Link, page: _Page) -> None:
    """Record the first page of a stream: the first stream of sound is the one that is read."""
    first = octets.at(page.body, 8)
    codec = next((name for mark, name in _CODECS.items() if first.startswith(mark)), "")
    if codec and not link.codec:
        link.codec, link.serial = codec, page.serial
    elif codec:
        link.others += 1


def _append(ranges: list[tuple[int, int]], more: tuple[int, int]) -> None:
    """Append a range, or extend the last one where they meet."""
    if ranges and ranges[-1][1] == more[0]:
        ranges[-1] = (ranges[-1][0], more[1])
    else:
        ranges.append(more)
