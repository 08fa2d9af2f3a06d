"""Chooses where the files of each item go in a batch's folder: names valid on every system.

An item's place is its path without the ending. If another item has that place, or one above or
below it, the ending stays. If that does not help either, the first folder gets a number.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import count
from pathlib import PurePosixPath

from core.batch.manifest import Entry
from core.machine.file_names import file_name

__all__ = ["OutputPaths"]


class OutputPaths:
    """Gives every item a place of its own, the same one in every run over a batch."""

    def __init__(self, entries: Iterable[Entry] = ()) -> None:
        self._of: dict[str, str] = {}
        self._taken: set[PurePosixPath] = set()
        self._above: set[PurePosixPath] = set()
        for entry in entries:
            # If two items claim one place, the first one gets it.
            if entry.place and self._free(entry.place):
                self._of[entry.source] = entry.place
                self._take(entry.place)

    def of(self, source: str) -> str:
        """Return the place of an item, relative and with forward slashes."""
        if source not in self._of:
            self._of[source] = next(p for p in _candidates(source) if self._free(p))
            self._take(self._of[source])
        return self._of[source]

    def _free(self, place: str) -> bool:
        path = _folded(place)
        inside = any(parent in self._taken for parent in path.parents)
        return path not in self._taken and path not in self._above and not inside

    def _take(self, place: str) -> None:
        path = _folded(place)
        self._taken.add(path)
        self._above.update(path.parents)


def _folded(place: str) -> PurePosixPath:
    """Return a place as file systems that ignore upper and lower case see it."""
    return PurePosixPath(place.casefold())


def _candidates(source: str) -> Iterator[str]:
    path = PurePosixPath(source)
    yield _plain(path.with_suffix(""))
    whole = _plain(path)
    yield whole
    first, *rest = PurePosixPath(whole).parts
    for number in count(2):
        yield PurePosixPath(f"{first}_{number}", *rest).as_posix()


def _plain(path: PurePosixPath) -> str:
    return "/".join(file_name(part) for part in path.parts if part not in ("/", "..")) or "item"
