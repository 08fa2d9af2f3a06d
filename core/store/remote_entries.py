"""The entries of a store at a URL: which attempt is the result, and how it becomes the result.

    <url>/luthier.json                        marks a store, and differs from that of an earlier one
    <url>/<step>/<key>/artifact.json          what the result is, and which attempt made it
    <url>/<step>/<key>/<attempt>/files/...    the files of an attempt

The first two are sealed (core/store/sealed.py), and each record says whose it is. Looking for an
entry removes nothing: a damaged one stays until the same result is kept again.

The files of an attempt are uploaded under a name of their own; `artifact.json`, which names the
attempt, is created last and once. So the first whole attempt counts, and files of an interrupted
upload are never read.
"""

from __future__ import annotations

import json
import re
import uuid
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from core.errors import StoreError, UnsafePathError
from core.machine.paths import below
from core.plugin.values import Artifact
from core.store.entry import key_of
from core.store.hashing import canonical, files_below, folder_digest
from core.store.object_errors import cannot_create
from core.store.object_store import Remote
from core.store.sealed import DamagedError, sealed, unsealed

__all__ = ["Attempt", "Entries", "Entry", "decoded"]

MARK = "luthier.json"
LAYOUT = 1
#: An attempt without a result that is older than this counts as killed. Only here are the clocks
#: of two machines compared.
ABANDONED = timedelta(days=7)
#: The parts of the name of an attempt's file: <step>/<key>/<attempt>/files/...
PARTS = 5
#: Valid names of an attempt: a name becomes a part of the names of objects.
ATTEMPT = re.compile(r"[0-9A-Za-z-]{1,64}")


@dataclass(frozen=True)
class Entry:
    """What `artifact.json` holds: `files` are names below those of the attempt.

    `name` is `<step>/<key>`, and `fingerprint` the text that the key is the digest of. The
    artifact's `folder` is empty and its `path` one of `files`: neither says where it was made.
    """

    name: str
    attempt: str
    kept_at: str
    files: tuple[str, ...]
    artifact: Artifact
    fingerprint: str

    @property
    def made_from(self) -> dict[str, Any]:
        """Return what the result depends on."""
        found: dict[str, Any] = json.loads(self.fingerprint)
        return found


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
        """Return what distinguishes this store from an earlier one at its URL; empty if unmade."""
        if not self._identity:
            self._identity = _identity(self.remote.read(MARK), self.url)
        return self._identity

    def make_ready(self) -> None:
        """Make the URL a store, and prove once per process that it can create exclusively."""
        if self._ready:
            return
        known = self.identity
        created = self.remote.create(MARK, _mark())
        if created and (known or self.remote.create(MARK, _mark())):
            raise cannot_create(self.url)
        self._ready = bool(self.identity)

    def read(self, key: str) -> Entry | None:
        """Return the record of an entry, None where there is none; raises DamagedError."""
        content = self.remote.read(f"{key}/artifact.json") if self.identity else None
        return None if content is None else decoded(content, key)

    def fetch(self, entry: Entry, folder: Path) -> Artifact:
        """Download the files into `folder`; raises DamagedError where they are not all there."""
        by = f"the record of {entry.name} at {self.url}"
        try:
            places = {name: below(folder, name, by) for name in entry.files}
        except UnsafePathError as error:
            raise DamagedError(error.what) from error
        files = {_name(entry.name, entry.attempt, name): file for name, file in places.items()}
        for file in files.values():
            file.parent.mkdir(parents=True, exist_ok=True)
        if not self.remote.fetch(files):
            raise DamagedError("its files are gone")
        if folder_digest(folder) != entry.artifact.sha256:
            raise DamagedError("its files are not those that were kept")
        return replace(entry.artifact, folder=str(folder), path=str(folder / entry.artifact.path))

    def send(self, key: str, artifact: Artifact, fingerprint: dict[str, Any]) -> Attempt:
        """Upload the files of `artifact`; they are no result before `commit`."""
        folder, now = Path(artifact.folder), datetime.now(UTC)
        name = f"{_stamp(now)}-{uuid.uuid4().hex[:12]}"
        files = tuple(sorted(p.relative_to(folder).as_posix() for p in files_below(folder)))
        described = replace(artifact, folder="", path=Path(artifact.path).name)
        made_from = canonical(fingerprint).decode()
        entry = Entry(key, name, now.isoformat(), files, described, made_from)
        self.remote.send({_name(key, name, file): folder / file for file in files})
        return Attempt(key, name, files, sealed(entry))

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

        `attempt` is empty if the record itself was damaged. Other attempts stay: one of them may be
        about to become the result.
        """
        name = f"{key}/artifact.json"
        with suppress(StoreError):  # an account that may only read treats it as absent
            content = self.remote.read(name)
            if content is not None and _attempt(content, key) == attempt:
                files = self.remote.below(f"{key}/{attempt}") if attempt else []
                self.remote.remove([name, *files])

    def clean_up(self, key: str) -> None:
        """Remove attempts that were killed long ago, where no whole one came after them."""
        before = _stamp(datetime.now(UTC) - ABANDONED)
        with suppress(StoreError):  # an account that may only read leaves it to others
            parts = {name: name.split("/") for name in self.remote.below(key)}
            self.remote.remove(n for n, p in parts.items() if len(p) >= PARTS and p[2] < before)


def decoded(content: bytes, name: str) -> Entry:
    """Return what the `artifact.json` of `name`, `<step>/<key>`, says; raises DamagedError."""
    entry = unsealed(content, Entry)
    if entry.name != name:
        raise DamagedError(f"its record is that of {entry.name}")
    if key_of(entry.fingerprint.encode()) != name.rpartition("/")[2]:
        raise DamagedError("its fingerprint does not give its key")
    if not ATTEMPT.fullmatch(entry.attempt):
        raise DamagedError(f"its attempt has an impossible name: {entry.attempt[:80]!r}")
    if entry.artifact.path not in entry.files:
        raise DamagedError("its main file is not among its files")
    return entry


def _attempt(content: bytes, name: str) -> str:
    """Return which attempt `artifact.json` names, or nothing where it cannot be read."""
    try:
        return decoded(content, name).attempt
    except DamagedError:
        return ""


@dataclass(frozen=True)
class _Mark:
    """What distinguishes a store from an earlier one at its URL, and its layout."""

    layout: int
    id: str


def _identity(content: bytes | None, url: str) -> str:
    """Return the identity of a store from its mark; raises StoreError where it is no such store."""
    if content is None:
        return ""
    try:
        mark = unsealed(content, _Mark)
    except DamagedError as error:
        raise StoreError(
            f"the mark of the store is damaged, or of another version: {error}",
            f"at: {url}/{MARK}",
            "remove that object: the results stay, and the next run marks the store anew",
            "or choose another place: store=s3://bucket/another/prefix",
        ) from error
    if mark.layout != LAYOUT or not mark.id:
        raise StoreError(
            f"the store has a layout that this version cannot read: {mark.layout}",
            f"at: {url}/{MARK}",
            "update Luthier, or choose another place: store=s3://bucket/another/prefix",
        )
    return mark.id


def _mark() -> bytes:
    return sealed(_Mark(LAYOUT, uuid.uuid4().hex))


def _name(key: str, attempt: str, file: str) -> str:
    return f"{key}/{attempt}/files/{file}"


def _stamp(when: datetime) -> str:
    return f"{when:%Y%m%dT%H%M%S}"
