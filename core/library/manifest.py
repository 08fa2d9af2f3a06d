"""The manifest of a library: one line of JSON for each song that was played, or could not be.

Lines are only ever added, each in one write that is on the disk before the next song counts. The
last line of a song is the one that holds; a line that a crash cut short is passed over.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Self

import msgspec

from core.errors import StoreError
from core.material import file_digest

__all__ = ["Entry", "Manifest", "is_done"]


@dataclass(frozen=True)
class Entry:
    """What became of one song.

    `source` is its path below the library's root and `sha256` that of the file that was read,
    empty where there was none to read. `outputs` are its files by their path in the library's
    folder, with the SHA-256 of each. `seconds` is how long it lasts, 0 where inputs have no rate;
    `took_s` how long playing took `worker`, a process of a machine, on `device`. `notes` are what
    was done to make it fit.
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


def is_done(entry: Entry | None, file: Path, folder: Path) -> bool:
    """Return whether a song was played: its file is the same, and what it gave is still there."""
    if entry is None or entry.status != "done":
        return False
    if not all((folder / output).is_file() for output in entry.outputs):
        return False
    try:
        return file_digest(file) == entry.sha256
    except OSError:
        return False


class Manifest:
    """The lines of one library, by source; `with` opens the file for adding to it."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.entries = _read(file)
        self._descriptor: int | None = None

    def __enter__(self) -> Self:
        try:
            flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | getattr(os, "O_BINARY", 0)
            self._descriptor = os.open(self.file, flags, 0o666)
            size = os.fstat(self._descriptor).st_size
            if size:
                # A line that a crash cut short must not swallow the next one.
                os.lseek(self._descriptor, size - 1, os.SEEK_SET)
                if os.read(self._descriptor, 1) != b"\n":
                    self._write(b"\n")
        except OSError as error:
            raise _unwritable(error, self.file) from error
        return self

    def __exit__(self, *exc: object) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)

    def add(self, entry: Entry) -> None:
        """Add a line, and return once it is on the disk; raises StoreError where it cannot be."""
        try:
            self._write(msgspec.json.encode(entry) + b"\n")
        except OSError as error:
            raise _unwritable(error, self.file) from error
        self.entries[entry.source] = entry

    def _write(self, line: bytes) -> None:
        assert self._descriptor is not None, "a manifest is opened by `with`"
        while line:
            line = line[os.write(self._descriptor, line) :]
        os.fsync(self._descriptor)


def _read(file: Path) -> dict[str, Entry]:
    """Return the last entry of every song; an absent file has none."""
    found: dict[str, Entry] = {}
    try:
        lines = file.read_bytes().splitlines()
    except FileNotFoundError:
        return found
    for line in lines:
        try:
            entry = msgspec.json.decode(line, type=Entry)
        except msgspec.MsgspecError:
            continue
        found[entry.source] = entry
    return found


def _unwritable(error: OSError, file: Path) -> StoreError:
    return StoreError(
        f"the library's manifest cannot be written: {error.strerror or error}",
        f"at: {file}",
        "free some room, or choose another place: output=/path/to/folder",
    )
