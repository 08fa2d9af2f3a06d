"""Which runs use which entries of a store, so that a clean-up removes none that is in use.

    <root>/runs/<time>.<random>.jsonl   what a run is, the entries that it used, its run folder
    <root>/runs/<time>.<random>.lock    held while the run lasts; the system frees it if one dies
    <root>/<step>/<key>/used            an empty file: its time is the last use of the entry
    <root>/locks/uses.lock              held while an entry is noted, or is checked and renamed

Why no entry in use is ever removed: a run notes an entry before it looks for it. A clean-up looks
through the notes of all running jobs before it gives an entry another name. Both hold `uses.lock`
meanwhile: so either the clean-up sees the note, or the run finds no entry, and makes it again.

Kept inputs of datasets are noted like entries, as `state/items/<key>`.
"""

from __future__ import annotations

import contextlib
import json
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from filelock import FileLock, Timeout

__all__ = ["RUNS", "USED", "Record", "Records", "note", "own_run", "placed", "recorded", "turn"]

#: The folder of the records, and the file of an entry whose time is that of its last use.
RUNS, USED = "runs", "used"
#: A link in the place of such a file would lead to another one.
_NO_LINK = getattr(os, "O_NOFOLLOW", 0)
#: Records of this many runs stay, whether or not something of theirs is left.
REMEMBERED = 50


@dataclass
class _Running:
    """The record that this process writes, made with its first line, and what it noted."""

    root: Path
    name: str
    about: dict[str, object]
    held: contextlib.ExitStack
    descriptor: int | None = None
    noted: set[str] = field(default_factory=set)

    def opened(self) -> int:
        """Return the open record; makes it, and holds its lock. Raises OSError."""
        if self.descriptor is not None:
            return self.descriptor
        place = self.root / RUNS
        place.mkdir(parents=True, exist_ok=True)
        lock = FileLock(place / f"{self.name}.lock", thread_local=False, fallback_to_soft=False)
        with turn(self.root), contextlib.ExitStack() as made:
            lock.acquire(timeout=0)
            made.callback(lock.release)
            flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL
            descriptor = os.open(place / f"{self.name}.jsonl", flags, 0o666)
            made.callback(os.close, descriptor)
            _add(descriptor, self.about)
            self.held.push(made.pop_all())
        self.descriptor = descriptor
        return descriptor


#: The run of this process, by the folder of the store: the code that reads kept inputs does not
#: know of the run.
_running: dict[Path, _Running] = {}


@dataclass(frozen=True)
class Record:
    """One run, as its record says: `started` in seconds since 1970.

    `kind` is `run`, `sweep`, `point`, `batch` or `fit`. `group` is the same for a sweep and its
    points, which count as one run. `folder` is the run folder, empty if there is none.
    """

    name: str
    kind: str
    recipe: str
    group: str
    started: float
    folder: str
    entries: frozenset[str]
    live: bool

    @property
    def run(self) -> str:
        """Return what is the same for all records of one run."""
        return self.group or self.name


@contextmanager
def turn(root: Path) -> Iterator[None]:
    """Hold the lock that notes and removals share, for a moment; raises OSError."""
    (root / "locks").mkdir(parents=True, exist_ok=True)
    # The fallback for file systems without locks trusts host names and process numbers.
    lock = FileLock(root / "locks" / "uses.lock", thread_local=False, fallback_to_soft=False)
    with lock:
        yield


@contextmanager
def recorded(root: Path, kind: str, recipe: str, group: str = "") -> Iterator[None]:
    """Record what this process uses of the store while the block runs.

    A single run that looks for nothing leaves no record, and no store. In a store that cannot be
    written nothing is recorded: nobody can remove anything there, either.
    """
    if root in _running:
        yield
        return
    now = datetime.now(UTC)
    name = f"{now:%Y%m%dT%H%M%S.%f}.{uuid.uuid4().hex[:8]}"
    about = {"kind": kind, "recipe": recipe, "group": group, "started": now.timestamp()}
    with contextlib.ExitStack() as held:
        running = _running[root] = _Running(root, name, about, held)
        if group:  # what its points used is kept while it runs, whatever it uses itself
            with contextlib.suppress(OSError):
                running.opened()
        try:
            yield
        finally:
            _running.pop(root, None)


def note(root: Path, entry: str) -> None:
    """Record that the run of this process uses an entry, before it looks for the entry."""
    running = _running.get(root)
    if running is None or entry in running.noted:
        return
    with contextlib.suppress(OSError):
        descriptor = running.opened()
        with turn(root):
            _add(descriptor, {"entry": entry})
        running.noted.add(entry)
    with contextlib.suppress(OSError):  # there is no such entry yet, or it is another user's
        _touch(root / entry / USED)


def placed(root: Path, folder: Path) -> None:
    """Record the folder that the run of this process leaves."""
    running = _running.get(root)
    if running is not None:
        with contextlib.suppress(OSError):
            _add(running.opened(), {"folder": str(folder)})


def _touch(file: Path) -> None:
    """Give a file the present time; make it if it is not there. Raises OSError."""
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | _NO_LINK, 0o666)
    try:
        os.utime(descriptor if os.utime in os.supports_fd else file)
    finally:
        os.close(descriptor)


def _add(descriptor: int, line: dict[str, object]) -> None:
    """Add a line to a record; JSON's escapes keep the bytes of a path that is no text."""
    os.write(descriptor, json.dumps(line).encode() + b"\n")


def own_run(root: Path) -> str:
    """Return what the records of this process's run have as `Record.run`; empty for none."""
    running = _running.get(root)
    return str(running.about["group"] or running.name) if running is not None else ""


class Records:
    """The records of a store; asking again reads only those of running jobs again."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._ended: dict[str, Record] = {}

    def all(self) -> list[Record]:
        """Return every record, the newest first."""
        found = []
        for file in sorted((self._root / RUNS).glob("*.jsonl"), reverse=True):
            if file.stem not in self._ended:
                record = self._read(file)
                if record.live:
                    found.append(record)
                    continue
                self._ended[file.stem] = record
            found.append(self._ended[file.stem])
        return found

    def in_use(self, but: str = "") -> frozenset[str]:
        """Return the entries that running jobs use; those of all points while their sweep runs.

        What only the run `but` uses is left out.
        """
        found = self.all()
        alive = [record.run for record in found if record.live]
        # The same sweep may run twice, in two folders: then this one is not alone.
        live = set(alive) - ({but} if alive.count(but) <= 1 else set())
        return frozenset(name for one in found if one.run in live for name in one.entries)

    def forget(self) -> None:
        """Remove the records of ended runs of which nothing is left; raises OSError."""
        with turn(self._root):
            for record in self.all()[REMEMBERED:]:
                left = (self._root / entry for entry in record.entries)
                if not record.live and not any(map(os.path.lexists, left)):
                    for ending in ("jsonl", "lock"):
                        with contextlib.suppress(OSError):
                            (self._root / RUNS / f"{record.name}.{ending}").unlink()

    def _read(self, file: Path) -> Record:
        about: dict[str, object] = {}
        entries: set[str] = set()
        # First whether it runs: what it notes later, it notes after this was asked.
        live = _is_live(file.with_suffix(".lock"), file.stem)
        for line in _lines(file):
            entry = line.pop("entry", None)
            entries.update([entry] if isinstance(entry, str) else [])
            about |= {key: value for key, value in line.items() if isinstance(value, str | float)}
        started = about.get("started")
        return Record(
            name=file.stem,
            kind=str(about.get("kind", "")),
            recipe=str(about.get("recipe", "")),
            group=str(about.get("group", "")),
            started=started if isinstance(started, float) else 0.0,
            folder=str(about.get("folder", "")),
            entries=frozenset(entries),
            live=live,
        )


def _lines(file: Path) -> Iterator[dict[str, object]]:
    """Yield the lines of a record; those that a kill or a full disk cut short are passed over."""
    try:
        descriptor = os.open(file, os.O_RDONLY | _NO_LINK | getattr(os, "O_NONBLOCK", 0))
        with os.fdopen(descriptor, "rb") as stream:
            content = stream.read()
    except OSError:
        return
    for text in content.splitlines():
        try:
            line = json.loads(text)
        except (ValueError, RecursionError):
            continue
        if isinstance(line, dict):
            yield line


def _is_live(file: Path, name: str) -> bool:
    """Return whether the run behind a record lives: whether its lock is held."""
    if any(running.name == name for running in _running.values()):
        return True
    if file.is_symlink() or not file.is_file():
        return False
    lock = FileLock(file, thread_local=False, fallback_to_soft=False)
    try:
        lock.acquire(timeout=0)
    except (Timeout, OSError):  # it is held, or nobody can say
        return True
    lock.release()
    return False
