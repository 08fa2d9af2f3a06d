"""The store: what a stage made, kept under the key of everything that it depends on.

    <root>/<step>/<key>/...         an entry (core/store/entry.py)
    <root>/state/<plugin>/...       what a plugin must find again after a run was killed
    <root>/runs/...                 which runs use which entries (core/store/uses.py)

An entry is made beside its final name and renamed, under a lock per key, so that two jobs never
do the same work twice and an interrupted one leaves nothing behind. Failures are never kept.

An entry is whole, or it is damaged and reads as absent, with a line that says so. Looking for one
changes nothing: a damaged entry stays until the same result is kept again in its place. Other
files in an entry's folder are never read.

A store at a URL has such a folder in front of it: core/store/remote.py.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import statistics
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from core.errors import StoreError
from core.machine.folders import clean_up, owned_folder, unwritable
from core.plugin.values import Artifact
from core.store import damage, uses
from core.store.emptied import is_emptied, read_emptied
from core.store.entry import (
    DESCRIPTION,
    FILES,
    FINGERPRINT,
    FORMAT,
    Description,
    described,
    description_of,
    is_of_this_format,
    key_of,
    moved_to,
    whole,
)
from core.store.fingerprint import changes
from core.store.hashing import canonical, files_below, verified_digest
from core.store.sealed import DamagedError, unsealed

__all__ = ["Kept", "Store"]

#: Results of fewer bytes are not worth a look for another one with the same files.
LARGE = 1_000_000


@dataclass(frozen=True)
class Kept:
    """What an entry says of its making.

    `when` is when it was kept, in seconds since 1970, and `seconds` how long making it took.
    """

    when: float
    fingerprint: dict[str, Any]
    seconds: float


class Store:
    """Keeps artifacts by key, below `root`.

    `notices` collects the damage found since the store was opened, for the report of a run.
    """

    #: What happens to a damaged entry that is asked for, in the words of a message.
    anew = "it is made again"

    def __init__(self, root: Path) -> None:
        self.root = root.expanduser().resolve()
        self.state_dir = self.root / "state"
        self.notices = damage.listening(self.root)
        self._damaged: dict[str, str] = {}
        # The files of results that were found or kept, by their digest.
        self._places: dict[str, Path] = {}

    @property
    def address(self) -> str:
        """Return what `open_store` takes to open the same store again."""
        return str(self.root)

    #: Whether files may be removed while their description stays (core/store/emptied.py).
    empties = True

    def find(
        self, step: str, fingerprint: dict[str, Any], *, emptied: bool = False
    ) -> Artifact | None:
        """Return the artifact of `fingerprint`; a damaged one is reported, and reads as absent.

        With `emptied=True` it may be one whose files were removed to make room: its `folder` is
        not there.
        """
        name = self._name(step, fingerprint)
        uses.note(self.root, name)
        try:
            if is_emptied(self.root, name):
                return read_emptied(self.root, name) if emptied else None
            found = whole(self.root, name)
        except DamagedError as error:
            self._tell(name, error)
            return None
        if found is not None:
            self._damaged.pop(name, None)
            self._places[found.sha256] = Path(found.folder)
        return found

    def _tell(self, name: str, error: DamagedError) -> None:
        """Report that an entry is damaged."""
        self._damaged[name] = str(error)
        step = name.partition("/")[0]
        text = f"the kept result of `{step}` is damaged, and {self.anew}: {error} ({name})"
        damage.tell(self.root / name, text)

    def keep(
        self, step: str, fingerprint: dict[str, Any], artifact: Artifact, *, answers: bool = True
    ) -> Artifact:
        """Move the files of `artifact` into the store; returns it at its new place.

        With `answers=False` the entry goes where `find` does not look: it serves this run only.
        Raises StoreError, and PluginError for facts that cannot be kept as they are.
        """
        if not answers:
            fingerprint = {"passing": artifact.sha256}
        name, staged = self._name(step, fingerprint), Path(artifact.folder).parent
        placed = replace(artifact, folder="", path=Path(artifact.path).name)
        content = description_of(Description(name, placed), step, fingerprint)
        # Decoded as the next run will read it: both must see the same artifact.
        placed = moved_to(self.root / name / FILES, unsealed(content, Description).artifact)
        uses.note(self.root, name)
        try:
            if not answers and self._stands(name):
                return placed  # another run plays it just now
            self._share_files(staged / FILES, placed)
            (staged / FINGERPRINT).write_bytes(canonical(fingerprint))
            (staged / DESCRIPTION).write_bytes(content)
            self._put(staged, self.root / name)
        except OSError as error:
            raise self.unwritable(error) from error
        self._damaged.pop(name, None)
        self._places[placed.sha256] = Path(placed.folder)
        return placed

    def _share_files(self, files: Path, artifact: Artifact) -> None:
        """Give large files that another entry has, too, a second name instead of a second copy.

        Both names are the store's. A change through one of them damages both entries, and is
        noticed in both.
        """
        twin = self._places.get(artifact.sha256)
        if twin is None or artifact.bytes < LARGE:
            return
        with contextlib.suppress(OSError):  # it is gone, or the disk has no hard links
            if verified_digest(twin) != artifact.sha256:
                return
            for file in files_below(files):
                beside = file.with_name(f".{uuid.uuid4().hex}")
                beside.hardlink_to(twin / file.relative_to(files))
                beside.replace(file)

    def drop(self, artifact: Artifact) -> None:
        """Remove an entry whose files were written to after they were kept."""
        shutil.rmtree(Path(artifact.folder).parent, ignore_errors=True)

    def is_owed(self, name: str) -> bool:
        """Return whether an entry must stay on this machine, because no other place has it yet."""
        return False

    def _stands(self, name: str) -> bool:
        """Return whether an entry is there and whole."""
        try:
            return whole(self.root, name) is not None
        except DamagedError:
            return False

    def _put(self, staged: Path, entry: Path) -> None:
        """Give an entry its name; an older one of that name is removed."""
        entry.parent.mkdir(parents=True, exist_ok=True)
        if os.path.lexists(entry):
            with self.staging() as aside:
                entry.rename(aside / entry.name)
                staged.rename(entry)
        else:
            staged.rename(entry)

    @contextmanager
    def lock(
        self, step: str, fingerprint: dict[str, Any], waits: Callable[[], None]
    ) -> Iterator[None]:
        """Hold the key: another process that wants the same result waits, and says so."""
        with self._locked(self._name(step, fingerprint).replace("/", "-"), waits):
            yield

    @contextmanager
    def _locked(self, name: str, waits: Callable[[], None], *, wait: bool = True) -> Iterator[bool]:
        """Hold a lock among the processes of this machine, which the system frees if one dies.

        Yields whether it is held: with `wait=False` another may hold it.
        """
        try:
            (self.root / "locks").mkdir(parents=True, exist_ok=True)
            lock = FileLock(self.root / "locks" / f"{name}.lock")
            try:
                lock.acquire(timeout=2 if wait else 0)
            except Timeout:
                if wait:
                    waits()
                    lock.acquire()
        except OSError as error:
            raise self.unwritable(error) from error
        try:
            yield lock.is_locked
        finally:
            lock.release()

    @contextmanager
    def staging(self) -> Iterator[Path]:
        """Give an empty folder on the store's own disk; what is left in it is removed."""
        with ExitStack() as owned:
            try:
                folder = owned.enter_context(owned_folder(self.root / "staging", "entry"))
                (folder / "files").mkdir()
            except OSError as error:
                raise self.unwritable(error) from error
            yield folder / "files"

    def clean_up(self) -> None:
        """Remove folders that killed processes left, here and among the kept items of datasets."""
        for parent in (self.root / "staging", self.state_dir / "items"):
            clean_up(parent)

    def fingerprints(self, step: str) -> list[dict[str, Any]]:
        """Return the fingerprint of each entry of a step, the newest first."""
        found = sorted(self._cached(step).values(), key=lambda cached: -cached.when)
        return [cached.fingerprint for cached in found]

    def history(self, step: str) -> dict[str, float]:
        """Return the median seconds that each plugin took for a step, over all kept entries."""
        taken: dict[str, list[float]] = {}
        for cached in self._cached(step).values():
            taken.setdefault(cached.fingerprint.get("plugin", ""), []).append(cached.seconds)
        return {plugin: statistics.median(seconds) for plugin, seconds in taken.items()}

    def _cached(self, step: str) -> dict[str, Kept]:
        """Return the making of each entry of a step, by key; report damaged ones, and omit them."""
        found: dict[str, Kept] = {}
        damaged: list[str] = []
        for file in sorted((self.root / step).glob(f"{FORMAT}-*/{DESCRIPTION}")):
            name = f"{step}/{file.parent.name}"
            try:
                artifact, fingerprint = described(self.root, name)
                when = file.stat().st_mtime
            except (DamagedError, OSError):
                if os.path.lexists(file.parent):  # not removed just now
                    damaged.append(name)
            else:
                found[file.parent.name] = Kept(when, fingerprint, artifact.made_in_s)
        unknown = [name for name in damaged if name not in self._damaged]
        if unknown:
            # A damaged entry that was asked for has been reported already.
            left_out = f"damaged results of `{step}` are ignored"
            more = f" and {len(unknown) - 1} more" if len(unknown) > 1 else ""
            damage.tell(self.root / step, f"{left_out}: {unknown[0]}{more}")
        return found

    def why_absent(self, step: str, fingerprint: dict[str, Any]) -> str:
        """Return that the entry is damaged, or its differences from the plugin's newest one."""
        name = self._name(step, fingerprint)
        reason = self._damaged.get(name)
        if reason is not None:
            return f"damaged: {reason}"
        if is_emptied(self.root, name):
            return "its files were removed to make room"
        newest = next(
            (
                old
                for old in self.fingerprints(step)
                if old.get("plugin") == fingerprint.get("plugin")
            ),
            None,
        )
        if newest is None:
            of_others = (p.name for p in (self.root / step).glob("*"))
            if any(not is_of_this_format(name) for name in of_others):
                return "never ran, or was kept by another version of Luthier in another format"
            return "never ran"
        lines = changes(newest, json.loads(json.dumps(fingerprint, default=str)))
        return "; ".join(lines[:3]) + ("; ..." if len(lines) > 3 else "")  # noqa: PLR2004  # a line

    def _name(self, step: str, fingerprint: dict[str, Any]) -> str:
        """Return the name of an entry: `<step>/<key>`."""
        return f"{step}/{key_of(canonical(fingerprint))}"

    def unwritable(self, error: OSError) -> StoreError:
        """Return the error that the store cannot be written."""
        return unwritable("the store", error, self.root, "store=/path/to/folder")
