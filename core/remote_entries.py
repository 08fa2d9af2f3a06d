"""The entries of a store at a URL: which attempt is the result, and how one comes to count.

    <url>/luthier.json                        marks a store, and tells it from an earlier one there
    <url>/<step>/<key>/artifact.json          what the result is, and which attempt made it
    <url>/<step>/<key>/<attempt>/files/...    the files of an attempt

The files of an attempt are uploaded under a name of their own; `artifact.json`, which names the
attempt, is created last and once. So the first whole attempt counts, and what an interrupted upload
left is never read.
"""

from __future__ import annotations

import json
import uuid
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path, PurePosixPath
from typing import Any

import msgspec

from core.errors import StoreError
from core.material import folder_digest
from core.remote import Remote
from core.remote_errors import cannot_create
from core.values import Artifact

__all__ = ["Attempt", "Entries", "Entry", "decoded"]

MARK = "luthier.json"
#: How old an attempt without a result must be to be taken for one that was killed. Only here are
#: the clocks of two machines compared.
ABANDONED = timedelta(days=7)
#: The parts of the name of an attempt's file: <step>/<key>/<attempt>/files/...
PARTS = 5


@dataclass(frozen=True)
class Entry:
    """What `artifact.json` holds: `files` are names below those of the attempt.

    The artifact's `folder` is empty and its `path` one of `files`: where it was made is nobody's
    business.
    """

    attempt: str
    kept_at: str
    files: tuple[str, ...]
    artifact: Artifact
    material: dict[str, Any]


@dataclass(frozen=True)
class Attempt:
    """Files that were uploaded for a key `<step>/<key>`, and what would make them the result."""

    key: str
    name: str
    files: tuple[str, ...]
    content: bytes


class Entries:
    """What a store at a URL holds, by key `<step>/<key>`; every failure is a StoreError."""

    def __init__(self, remote: Remote) -> None:
        self.remote, self.url = remote, remote.url
        self._identity = ""
        self._ready = False

    @property
    def identity(self) -> str:
        """Return what tells this store from another that had its URL; empty where none is yet."""
        if not self._identity:
            self._identity = _identity(self.remote.read(MARK), self.url)
        return self._identity

    def make_ready(self) -> None:
        """Make the URL a store, and prove once in a process that it can create exclusively."""
        if self._ready:
            return
        known = self.identity
        created = self.remote.create(MARK, _mark())
        if created and (known or self.remote.create(MARK, _mark())):
            raise cannot_create(self.url)
        self._ready = bool(self.identity)

    def read(self, key: str) -> Entry | None:
        """Return what the entry is, None where there is none; a damaged one is dropped."""
        content = self.remote.read(f"{key}/artifact.json") if self.identity else None
        if content is None:
            return None
        try:
            return decoded(content)
        except ValueError:
            self.drop(key, "")
            return None

    def fetch(self, key: str, entry: Entry, folder: Path) -> Artifact | None:
        """Download the files into `folder`; a damaged entry is dropped, and None is returned."""
        files = {_name(key, entry.attempt, name): folder / name for name in entry.files}
        for file in files.values():
            file.parent.mkdir(parents=True, exist_ok=True)
        if not self.remote.fetch(files) or folder_digest(folder) != entry.artifact.sha256:
            self.drop(key, entry.attempt)
            return None
        return replace(entry.artifact, folder=str(folder), path=str(folder / entry.artifact.path))

    def send(self, key: str, artifact: Artifact, material: dict[str, Any]) -> Attempt:
        """Upload the files of `artifact`, which makes them nobody's result yet."""
        folder, now = Path(artifact.folder), datetime.now(UTC)
        name = f"{_stamp(now)}-{uuid.uuid4().hex[:12]}"
        found = (p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())
        files = tuple(sorted(found))
        described = replace(artifact, folder="", path=Path(artifact.path).name)
        made_from = json.loads(json.dumps(material, default=str))
        entry = Entry(name, now.isoformat(), files, described, made_from)
        self.remote.send({_name(key, name, file): folder / file for file in files})
        return Attempt(key, name, files, msgspec.json.encode(entry))

    def commit(self, attempt: Attempt) -> bool:
        """Make an attempt the result; returns False where another one is."""
        key = attempt.key
        if not self.remote.create(f"{key}/artifact.json", attempt.content):
            return False
        # Whoever is still uploading to this key has lost already, or was killed.
        ours = (f"{key}/{attempt.name}/", f"{key}/artifact.json")
        with suppress(StoreError):  # what cannot be removed is never read
            self.remote.remove(n for n in self.remote.below(key) if not n.startswith(ours))
        return True

    def withdraw(self, attempt: Attempt) -> None:
        """Remove an attempt that lost."""
        with suppress(StoreError):  # what cannot be removed is never read
            self.remote.remove(_name(attempt.key, attempt.name, file) for file in attempt.files)

    def drop(self, key: str, attempt: str) -> None:
        """Remove an entry, if it is still the attempt that was found damaged.

        Other attempts stay: one of them may be about to become the result.
        """
        name = f"{key}/artifact.json"
        with suppress(StoreError):  # who may only read takes it for absent all the same
            content = self.remote.read(name)
            if content is not None and _attempt(content) == attempt:
                files = self.remote.below(f"{key}/{attempt}") if attempt else []
                self.remote.remove([name, *files])

    def sweep_up(self, key: str) -> None:
        """Remove attempts that were killed long ago, where no whole one came after them."""
        before = _stamp(datetime.now(UTC) - ABANDONED)
        with suppress(StoreError):  # who may only read leaves it to others
            parts = {name: name.split("/") for name in self.remote.below(key)}
            self.remote.remove(n for n, p in parts.items() if len(p) >= PARTS and p[2] < before)


def decoded(content: bytes) -> Entry:
    """Return what `artifact.json` says; raises ValueError where it cannot be."""
    entry = msgspec.json.decode(content, type=Entry)
    for name in (entry.attempt, *entry.files, entry.artifact.path):
        path = PurePosixPath(name)
        # Whoever else writes to a store must not choose where files land on this machine.
        if not name or path.is_absolute() or ".." in path.parts or "\\" in name or ":" in name:
            raise ValueError(f"a name that cannot be: {name!r}")
    return entry


def _attempt(content: bytes) -> str:
    """Return which attempt `artifact.json` names, or nothing where it cannot be read."""
    try:
        return decoded(content).attempt
    except ValueError:
        return ""


def _identity(content: bytes | None, url: str) -> str:
    """Return the identity of a store from its mark; raises StoreError where it is no such store."""
    if content is None:
        return ""
    try:
        mark = json.loads(content)
        layout, identity = mark["layout"], str(mark["id"])
    except (ValueError, KeyError, TypeError):
        layout, identity = None, ""
    if layout != 1 or not identity:
        raise StoreError(
            f"the store has a layout that this version cannot read: {layout}",
            f"at: {url}/{MARK}",
            "update Luthier, or choose another place: store=s3://bucket/another/prefix",
        )
    return identity


def _mark() -> bytes:
    return json.dumps({"layout": 1, "id": uuid.uuid4().hex}).encode()


def _name(key: str, attempt: str, file: str) -> str:
    return f"{key}/{attempt}/files/{file}"


def _stamp(when: datetime) -> str:
    return f"{when:%Y%m%dT%H%M%S}"
