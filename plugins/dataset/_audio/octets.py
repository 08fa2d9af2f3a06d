"""The bytes of a file: read at any place without holding it whole, and cut into excerpts.

A decoder that stops at damage, or that trusts a wrong count, gets an excerpt: ranges of the file
and our own bytes, joined as if they were a file.
"""

from __future__ import annotations

import bisect
import io
import re
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

__all__ = ["Excerpt", "Octets", "Piece"]

Piece = bytes | tuple[int, int]
"""Bytes as they are, or the range from a byte of the file up to another."""

#: Bytes that are read at once.
_AT_ONCE = 1 << 20
#: The longest match that `find` promises to see.
_LONGEST_MATCH = 64


class Octets:
    """The bytes of an open file."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._start, self._held = 0, b""
        self.size = file.seek(0, io.SEEK_END)

    def at(self, start: int, size: int) -> bytes:
        """Return `size` bytes from `start` on; fewer where the file ends before."""
        if not self._start <= start <= start + size <= self._start + len(self._held):
            self._file.seek(start)
            self._held = self._file.read(max(size, min(_AT_ONCE, self.size - start)))
            self._start = start
        return self._held[start - self._start : start - self._start + size]

    def find(self, pattern: re.Pattern[bytes], start: int, end: int) -> int:
        """Return where a pattern of a few bytes is found first in a range; -1 for nowhere."""
        while start < end:
            held = self.at(start, min(_AT_ONCE, end - start))
            found = pattern.search(held)
            if found:
                return start + found.start()
            if len(held) <= _LONGEST_MATCH:
                break
            start += len(held) - _LONGEST_MATCH
        return -1


class Excerpt(io.RawIOBase):
    """Pieces of a file, one after the other, to be read like a file. It opens the file anew."""

    def __init__(self, path: Path, pieces: Sequence[Piece]) -> None:
        super().__init__()
        self._file = path.open("rb")
        self._pieces = [p for p in pieces if (len(p) if isinstance(p, bytes) else p[1] - p[0]) > 0]
        self._starts, total = list[int](), 0
        for piece in self._pieces:
            self._starts.append(total)
            total += len(piece) if isinstance(piece, bytes) else piece[1] - piece[0]
        self._size, self._place = total, 0

    def readable(self) -> bool:
        """Return True: it can be read."""
        return True

    def seekable(self) -> bool:
        """Return True: any place of it can be read."""
        return True

    def tell(self) -> int:
        """Return the place that is read next."""
        return self._place

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to a place, which may be past the end."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._place, io.SEEK_END: self._size}[whence]
        self._place = max(0, base + offset)
        return self._place

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        """Fill a buffer from the place on; return how many bytes there were."""
        view, done = memoryview(buffer).cast("B"), 0
        while done < len(view) and self._place < self._size:
            number = bisect.bisect_right(self._starts, self._place) - 1
            piece, offset = self._pieces[number], self._place - self._starts[number]
            wanted = len(view) - done
            if isinstance(piece, bytes):
                held = piece[offset : offset + wanted]
            else:
                self._file.seek(piece[0] + offset)
                held = self._file.read(min(wanted, piece[1] - piece[0] - offset))
            if not held:  # the file was shortened during the read
                break
            view[done : done + len(held)] = held
            done += len(held)
            self._place += len(held)
        return done

    def close(self) -> None:
        """Close the file."""
        self._file.close()
        super().close()
