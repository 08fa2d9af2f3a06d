"""The manifest of a batch: one line of JSON for each item that was played or failed.

A run only appends lines, each with its own digest (core/store/sealed.py), and each line is on the
disk before the next item counts. If an item has several lines, the last one counts. The reader
skips a line that a crash cut short. It also skips damaged lines and lines that name a place outside
the batch, and counts these for a warning.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Literal, Self

from core.errors import StoreError, UnsafePathError
from core.machine.folders import unwritable
from core.machine.paths import below
from core.store.sealed import DamagedError, sealed, unsealed

__all__ = ["ITEMS", "Entry", "Manifest"]

#: In the batch's folder: where finished items are.
ITEMS = "items"
_BINARY = getattr(os, "O_BINARY", 0)
#: Refuses a manifest that is a link. Windows has no such flag, and rarely links.
_NO_LINK = getattr(os, "O_NOFOLLOW", 0)


@dataclass(frozen=True)
class Entry:
    """The result of one item.

    `source` is its path below the batch's root (`Source.name`). `sha256` is the hash of the file
    that was read, empty where no file could be read. `place` is its folder below `items/`;
    `outputs` maps the path of each of its files, in the batch's folder, to the file's SHA-256.
    `seconds` is the item's duration, 0 where inputs have no rate. `took_s` is how long `worker`, a
    process of a machine, played it on `device`. `notes` say what was done to make the item fit.
    """

    source: str
    status: Literal["done", "failed"]
    sha256: str = ""
    place: str = ""
    outputs: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0
    took_s: float = 0.0
    device: str = ""
    worker: str = ""
    reason: str = ""
    retries: int = 0
    notes: tuple[str, ...] = ()


class Manifest:
    """The lines of one batch, by source; `with` opens the file for adding to it.

    `damaged` is the number of complete lines that were skipped. `with` removes them from the file,
    so that they are reported only once.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        self.entries: dict[str, Entry] = {}
        self.damaged = 0
        self._good: list[bytes] = []
        self._mended = False
        self._descriptor: int | None = None
        self._read()

    def __enter__(self) -> Self:
        try:
            if self._mended:
                self._rewrite()
            flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | _BINARY | _NO_LINK
            self._descriptor = os.open(self.file, flags, 0o666)
        except OSError as error:
            raise unwritable("the batch's manifest", error, self.file) from error
        self._good.clear()
        return self

    def __exit__(self, *exc: object) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)

    def add(self, entry: Entry) -> None:
        """Add a line, and return once it is on the disk; raises StoreError if that fails."""
        assert self._descriptor is not None, "a manifest is opened by `with`"
        try:
            _write(self._descriptor, sealed(entry) + b"\n")
        except OSError as error:
            raise unwritable("the batch's manifest", error, self.file) from error
        self.entries[entry.source] = entry

    def _read(self) -> None:
        """Read the last entry of every item; an absent file has none."""
        try:
            with self.file.open("rb") as file:
                for line in file:
                    self._take(line)
        except FileNotFoundError:
            return
        except OSError as error:
            raise StoreError(
                f"the batch's manifest cannot be read: {error.strerror or error}",
                f"at: {self.file}",
                "play into another folder: output=/path/to/folder",
            ) from error

    def _take(self, line: bytes) -> None:
        whole = line.endswith(b"\n")
        try:
            entry = unsealed(line.removesuffix(b"\n"), Entry)
            _check(entry, self.file)
        except (DamagedError, UnsafePathError):
            self._mended = True
            # Only the last line lacks its end, and only where a crash cut it.
            self.damaged += whole
            return
        self._mended |= not whole
        self._good.append(line if whole else line + b"\n")
        self.entries[entry.source] = entry

    def _rewrite(self) -> None:
        """Replace the file, in one step, by one with the good lines alone."""
        partial = self.file.with_name(f"{self.file.name}.partial")
        partial.unlink(missing_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | _BINARY | _NO_LINK
        descriptor = os.open(partial, flags, 0o666)
        try:
            _write(descriptor, b"".join(self._good))
        finally:
            os.close(descriptor)
        partial.replace(self.file)


def _check(entry: Entry, file: Path) -> None:
    """Raise UnsafePathError for a place outside the batch, or a file outside its place."""
    if not entry.place and not entry.outputs:
        return
    said_by = f"the manifest {file}, for the item {entry.source[:200]!r}"
    below(file.parent / ITEMS, entry.place, said_by)
    place = PurePosixPath(ITEMS, entry.place)
    for output in entry.outputs:
        below(file.parent, output, said_by)
        if place not in PurePosixPath(output).parents:
            raise UnsafePathError(
                "a manifest names a file outside the folder of its item",
                f"file: {output[:200]!r}",
                f"named by: {said_by}",
            )


def _write(descriptor: int, data: bytes) -> None:
    while data:
        data = data[os.write(descriptor, data) :]
    os.fsync(descriptor)
