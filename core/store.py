"""The store: what a stage made, kept under the key of everything that it depends on.

    <root>/<step>/<key>/artifact.json     what it is; written last, so its presence means "whole"
    <root>/<step>/<key>/material.json     what the key was made of
    <root>/<step>/<key>/files/...         the files of the artifact
    <root>/state/<plugin>/...             what a plugin must find again after a run was killed

An entry is made beside its final name and renamed, under a lock per key, so that two jobs never
do the same work twice and an interrupted one leaves nothing behind. Failures are never kept.

A store at a URL has such a folder in front of it: core/remote_store.py.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec
from filelock import FileLock, Timeout

from core.errors import ConfigError, StoreError
from core.leftovers import owned_name, sweep_up
from core.material import changes, digest
from core.values import Artifact
from core.verified import verified_digest

__all__ = ["Kept", "Store", "open_store"]


def open_store(root: str | None) -> Store:
    """Return the store at a folder or at a URL that fsspec knows; else where `LUTHIER_STORE` says.

    `s3://bucket/prefix` is one; `file:///a/folder` is that folder. Raises ConfigError for a URL
    that cannot be, and MissingLibraryError where its package is not installed.
    """
    place = root or os.environ.get("LUTHIER_STORE") or str(_cache() / "luthier")
    protocol, separator, path = place.partition("://")
    if not separator or protocol in ("file", "local"):
        if not path and separator:
            raise ConfigError(f"the store `{place}` names no folder", "give one: store=/a/folder")
        return Store(Path(path or place))
    # Only here is fsspec loaded, and with it what speaks to a network.
    from core.remote import opened
    from core.remote_store import RemoteStore

    return RemoteStore(opened(place), _cache() / "luthier" / "remotes")


def _cache() -> Path:
    """Return the folder of a person's caches."""
    given = os.environ.get("XDG_CACHE_HOME")
    return Path(given) if given else Path.home() / ".cache"


@dataclass(frozen=True)
class Kept:
    """What an entry says of its making.

    `when` is when it was kept, in seconds since 1970, and `seconds` what making it took.
    """

    when: float
    material: dict[str, Any]
    seconds: float


class Store:
    """Keeps artifacts by key, below `root`."""

    def __init__(self, root: Path) -> None:
        self.root = root.expanduser().resolve()
        self.lasting = self.root / "state"

    @property
    def address(self) -> str:
        """Return what `open_store` takes to open the same store again."""
        return str(self.root)

    def find(self, step: str, material: dict[str, Any]) -> Artifact | None:
        """Return what was made from `material`; a damaged entry is dropped and reads as absent."""
        entry = self._entry(step, material)
        try:
            artifact = msgspec.json.decode((entry / "artifact.json").read_bytes(), type=Artifact)
        except FileNotFoundError:
            return None
        except (msgspec.MsgspecError, OSError):
            shutil.rmtree(entry, ignore_errors=True)
            return None
        files = entry / "files"
        try:
            whole = verified_digest(files) == artifact.sha256
        except OSError:
            whole = False
        if not whole:
            shutil.rmtree(entry, ignore_errors=True)
            return None
        return _moved(artifact, files)

    def keep(
        self, step: str, material: dict[str, Any], artifact: Artifact, *, answers: bool = True
    ) -> Artifact:
        """Move the files of `artifact` into the store; returns it at its new place.

        With `answers=False` the entry goes where `find` does not look: it serves this run only.
        """
        entry = self._entry(step, material if answers else {"passing": artifact.sha256})
        staged = Path(artifact.folder).parent
        try:
            (staged / "material.json").write_text(json.dumps(material, indent=1, default=str))
            placed = _moved(artifact, entry / "files")
            (staged / "artifact.json").write_bytes(msgspec.json.encode(placed))
            shutil.rmtree(entry, ignore_errors=True)
            entry.parent.mkdir(parents=True, exist_ok=True)
            staged.rename(entry)
        except OSError as error:
            raise self._unwritable(error) from error
        return placed

    @contextmanager
    def lock(
        self, step: str, material: dict[str, Any], waits: Callable[[], None]
    ) -> Iterator[None]:
        """Hold the key: another process that wants the same result waits, and says so."""
        with self._locked(f"{step}-{self._key(material)}", waits):
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
            raise self._unwritable(error) from error
        try:
            yield lock.is_locked
        finally:
            lock.release()

    @contextmanager
    def staging(self) -> Iterator[Path]:
        """Give an empty folder on the store's own disk; what is left in it is removed."""
        parent = self.root / "staging"
        try:
            parent.mkdir(parents=True, exist_ok=True)
            sweep_up(parent)
            folder = parent / owned_name(uuid.uuid4().hex[:8])
            (folder / "files").mkdir(parents=True)
        except OSError as error:
            raise self._unwritable(error) from error
        try:
            yield folder / "files"
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def materials(self, step: str) -> list[dict[str, Any]]:
        """Return what each entry of a step was made from, the newest first."""
        found = sorted(self._kept(step).values(), key=lambda kept: -kept.when)
        return [kept.material for kept in found]

    def history(self, step: str) -> dict[str, float]:
        """Return the median seconds that each plugin took for a step, in what is kept."""
        taken: dict[str, list[float]] = {}
        for kept in self._kept(step).values():
            taken.setdefault(kept.material.get("plugin", ""), []).append(kept.seconds)
        return {plugin: statistics.median(seconds) for plugin, seconds in taken.items()}

    def _kept(self, step: str) -> dict[str, Kept]:
        """Return what made each entry of a step, by its key."""
        found: dict[str, Kept] = {}
        for file in (self.root / step).glob("*/artifact.json"):
            try:
                material = json.loads((file.parent / "material.json").read_text())
                artifact = msgspec.json.decode(file.read_bytes(), type=Artifact)
                found[file.parent.name] = Kept(file.stat().st_mtime, material, artifact.made_in_s)
            except (OSError, ValueError, msgspec.MsgspecError):
                continue
        return found

    def why_absent(self, step: str, material: dict[str, Any]) -> str:
        """Say what differs from the newest entry of the same step and plugin."""
        newest = next(
            (old for old in self.materials(step) if old.get("plugin") == material.get("plugin")),
            None,
        )
        if newest is None:
            return "never ran"
        lines = changes(newest, json.loads(json.dumps(material, default=str)))
        return "; ".join(lines[:3]) + ("; ..." if len(lines) > 3 else "")  # noqa: PLR2004  # a line

    def _entry(self, step: str, material: dict[str, Any]) -> Path:
        return self.root / step / self._key(material)

    def _key(self, material: dict[str, Any]) -> str:
        return digest(material)[:32]

    def _unwritable(self, error: OSError) -> StoreError:
        return StoreError(
            f"the store cannot be written: {error.strerror or error}",
            f"at: {error.filename or self.root}",
            "free some room, or choose another place: store=/path/to/folder",
        )


def _moved(artifact: Artifact, folder: Path) -> Artifact:
    return replace(artifact, folder=str(folder), path=str(folder / Path(artifact.path).name))
