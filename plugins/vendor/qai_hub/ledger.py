"""Records uploads and submissions on disk, before and after they happen.

A job costs a device's time. So its intent is written before it is submitted and its id after, each
atomically. A run after a kill finds the id and goes on waiting, or finds an intent without an id
and asks the service whether the job of that name exists. An entry that cannot be verified counts
as an intent, too: a wrong id would bring the results of another job.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from core.store import damage
from core.store.sealed import DamagedError, read_sealed, write_sealed

__all__ = ["Entry", "Ledger"]

#: Seconds after which a wait for another run is reported.
PATIENCE_S = 2


@dataclass(frozen=True)
class Entry:
    """One upload or job: `id` is empty while it is an intent; a failed job's next try counts up."""

    name: str
    id: str = ""
    attempt: int = 1

    @property
    def submitted_as(self) -> str:
        """Return the name on the service: the entry's own, with the number of a later attempt."""
        return self.name if self.attempt == 1 else f"{self.name}-{self.attempt}"


class Ledger:
    """Entries by name, one small file each, below a folder that outlives the run."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def read(self, name: str) -> Entry:
        """Return the entry; a new one is an empty intent; so is a damaged one, with a warning."""
        file = self._file(name)
        try:
            entry = read_sealed(file, Entry)
            if entry.name == name:
                return entry
            reason = f"it belongs to {entry.name}"
        except FileNotFoundError:
            return Entry(name)
        except DamagedError as error:
            reason = str(error)
        what = f"the note on `{name}` is damaged; the service is asked instead"
        damage.tell(file, f"{what}: {reason}")
        return Entry(name)

    def write(self, entry: Entry) -> None:
        """Write the entry so that a kill or a power cut leaves either the old or the new one."""
        write_sealed(self._file(entry.name), entry, durable=True)

    @contextlib.contextmanager
    def lock(self, name: str, waits: Callable[[], None]) -> Iterator[None]:
        """Hold a name, so that one run at a time uploads or submits it; `waits` reports a wait."""
        lock = FileLock(self.folder / f"{name}.lock")
        try:
            lock.acquire(timeout=PATIENCE_S)
        except Timeout:
            waits()
            lock.acquire()
        try:
            yield
        finally:
            lock.release()

    def _file(self, name: str) -> Path:
        return self.folder / f"{name}.json"
