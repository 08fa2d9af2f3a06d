"""A store at a URL, which many machines share, with a folder of this machine in front of it.

Every lookup begins in the folder: an ordinary store (core/store/local.py) that holds what this
machine made or fetched. The objects at the URL: core/store/remote_entries.py and
core/store/lease.py. Entries that serve one run only (`answers=False`) and the state of plugins
(`state_dir`) stay on this machine.

    <root>/<step>/<key>/shared    the identity of the store at the URL that has this entry, too
    <root>/known/<step>/<key>     what entries at the URL were made from: copies of their records
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from core.errors import StoreError
from core.plugin.values import Artifact
from core.store import damage
from core.store.entry import FORMAT, is_of_this_format
from core.store.hashing import digest
from core.store.lease import LEASE_S, Lease
from core.store.local import Kept, Store
from core.store.object_store import Remote
from core.store.remote_entries import Entries, Entry, decoded
from core.store.sealed import DamagedError, read_plain, read_sealed, write_sealed
from core.text.screen import screen

__all__ = ["RemoteStore"]

#: Names of the folder and of the mark that hold what this machine knows of the URL.
KNOWN, SHARED = "known", "shared"
#: The most entries of a step whose fingerprints each store object reads from the URL, once.
ASKED = 256
#: Transfers of more bytes than this are reported: they may take two seconds.
TOLD_BYTES = 10_000_000
#: How often an attempt is offered if damaged ones are found in its place.
OFFERS = 3


@dataclass(frozen=True)
class _Shared:
    """What the mark `shared` holds: which entry is at the URL, and in which store there."""

    entry: str
    store: str


class RemoteStore(Store):
    """Keeps artifacts by key below a URL; `caches` holds the folders in front of such stores.

    `lease_s` is how long a maker may be silent before others take its work over, in seconds.
    """

    anew = "it is fetched or made again"

    def __init__(self, remote: Remote, caches: Path, lease_s: float = LEASE_S) -> None:
        super().__init__(caches / digest(remote.url)[:16])
        self._remote, self._entries, self._lease_s = remote, Entries(remote), lease_s
        self._done: set[str] = set()
        self._asked: set[str] = set()
        # Attempts that were fetched and found damaged: they are not fetched again.
        self._refused: set[tuple[str, str]] = set()

    @property
    def address(self) -> str:
        """Return the URL."""
        return self._remote.url

    #: A copy can be fetched again: it is kept whole or not at all.
    empties = False

    def find(
        self,
        step: str,
        fingerprint: dict[str, Any],
        *,
        emptied: bool = False,  # copies are whole
    ) -> Artifact | None:
        """Return the artifact of `fingerprint`, fetched if need be; raises StoreError.

        An entry that this machine has but the URL has not, because an upload was interrupted or
        somebody emptied it, is uploaded.
        """
        found = super().find(step, fingerprint)
        if found is None:
            with self._transfer(step, fingerprint):
                # Another process of this machine may have fetched it meanwhile.
                found = super().find(step, fingerprint) or self._fetch(step, fingerprint)
        elif not self._is_shared(step, fingerprint):
            with self._transfer(step, fingerprint, wait=False) as free:
                if free and not self._is_shared(step, fingerprint):
                    found = self._share(step, fingerprint, found)
        if found is not None:
            self._done.add(self._name(step, fingerprint))
        return found

    def keep(
        self, step: str, fingerprint: dict[str, Any], artifact: Artifact, *, answers: bool = True
    ) -> Artifact:
        """Move the files into the folder of this machine, and upload them.

        Returns the artifact at its new place: that of another machine if it was kept first. A
        failed upload raises StoreError, and the next run uploads again.
        """
        if not answers:
            return super().keep(step, fingerprint, artifact, answers=False)
        with self._transfer(step, fingerprint):
            cached = self._share(step, fingerprint, super().keep(step, fingerprint, artifact))
        self._done.add(self._name(step, fingerprint))
        return cached

    @contextmanager
    def lock(
        self, step: str, fingerprint: dict[str, Any], waits: Callable[[], None]
    ) -> Iterator[None]:
        """Hold the key: first among the processes of this machine, then among machines."""
        with super().lock(step, fingerprint, waits):
            self._entries.make_ready()
            name = self._name(step, fingerprint).replace("/", "-")
            lease = Lease(self._remote, name, self._lease_s)
            lease.acquire(waits)
            try:
                yield
            finally:
                lease.release(done=self._name(step, fingerprint) in self._done)

    def _cached(self, step: str) -> dict[str, Kept]:
        """Return the making of each entry of a step, here or on any other machine."""
        found = super()._cached(step)
        if step not in self._asked:
            self._asked.add(step)
            self._ask(step)
        for file in (self.root / KNOWN / step).glob(f"{FORMAT}-*"):
            entry = self._noted(step, file.name)
            if entry is not None:
                when = datetime.fromisoformat(entry.kept_at).timestamp()
                found[file.name] = Kept(when, entry.made_from, entry.artifact.made_in_s)
        return found

    def _noted(self, step: str, key: str) -> Entry | None:
        """Return this machine's note of an entry at the URL, if there is a whole one."""
        try:
            return decoded(read_plain(self.root / KNOWN / step / key), f"{step}/{key}")
        except (FileNotFoundError, DamagedError):
            return None

    def _ask(self, step: str) -> None:
        """Read the fingerprints of those entries of a step that are new to this machine."""
        known = self.root / KNOWN / step
        listed = self._remote.folders(step) if self._entries.identity else []
        keys = [key for key in listed if is_of_this_format(key)]
        new = [key for key in keys if self._noted(step, key) is None]
        spoilt = [key for key in new if (known / key).is_file()]
        if spoilt:
            damage.tell(known, f"the notes on `{step}` are damaged, and fetched again")
        contents = self._remote.read_many(f"{step}/{key}/artifact.json" for key in new[:ASKED])
        damaged: list[str] = []
        try:
            known.mkdir(parents=True, exist_ok=True)
            for key in new[:ASKED]:
                content = contents.get(f"{step}/{key}/artifact.json")
                if content is None:
                    self._entries.clean_up(f"{step}/{key}")
                    continue
                try:
                    entry = decoded(content, f"{step}/{key}")
                except DamagedError:
                    damaged.append(key)
                else:
                    write_sealed(known / key, entry)
            for gone in {file.name for file in known.iterdir()} - set(keys):
                if not gone.startswith("."):  # which another process writes just now
                    (known / gone).unlink(missing_ok=True)
        except OSError as error:
            raise self.unwritable(error) from error
        if damaged:
            left_out = f"damaged results of `{step}` are ignored"
            damage.tell(known, f"{left_out}: {len(damaged)} at {self._remote.url}/{step}")

    def _fetch(
        self, step: str, fingerprint: dict[str, Any], *, drop: bool = False
    ) -> Artifact | None:
        """Download an entry to this machine; a damaged one is reported, and reads as absent.

        With `drop` a damaged one is removed at the URL, for the one that is offered in its place.
        """
        name, attempt = self._name(step, fingerprint), ""
        try:
            entry = self._entries.read(name)
            if entry is None:
                return None
            attempt = entry.attempt
            if (name, attempt) in self._refused and not drop:
                return None
            with self.staging() as folder:
                _tell("fetching", step, entry.artifact.bytes, self._remote.url)
                artifact = self._entries.fetch(entry, folder)
                cached = super().keep(step, fingerprint, artifact)
        except DamagedError as error:
            self._refused.add((name, attempt))
            self._damaged[name] = str(error)
            where = f"{self._remote.url}/{name}"
            text = (
                f"the kept result of `{step}` is damaged, and it is made again: {error} ({where})"
            )
            damage.tell(self.root / name, text)
            if drop:
                self._entries.drop(name, attempt)
            return None
        self._note_shared(step, fingerprint)
        return cached

    def _share(self, step: str, fingerprint: dict[str, Any], cached: Artifact) -> Artifact:
        """Upload an entry of this machine; returns the one that counts from now on."""
        self._entries.make_ready()
        _tell("uploading", step, cached.bytes, self._remote.url)
        attempt = self._entries.send(self._name(step, fingerprint), cached, fingerprint)
        for _ in range(OFFERS):
            if self._entries.commit(attempt):
                self._note_shared(step, fingerprint)
                return cached
            other = self._fetch(step, fingerprint, drop=True)
            if other is not None:
                self._entries.withdraw(attempt)
                return other
        self._entries.withdraw(attempt)
        raise StoreError(
            "the store holds a damaged result that cannot be removed",
            f"at: {self._remote.url}/{attempt.key}",
            "check that this account may delete objects there, or delete it yourself",
        )

    @contextmanager
    def _transfer(
        self, step: str, fingerprint: dict[str, Any], *, wait: bool = True
    ) -> Iterator[bool]:
        """Hold an entry's copy on this machine, so that one process at a time moves it."""
        name = self._name(step, fingerprint).replace("/", "-")
        with self._locked(f"{name}.transfer", lambda: None, wait=wait) as held:
            yield held

    def is_owed(self, name: str) -> bool:
        """Return whether an entry must stay on this machine, because the URL has it not yet."""
        return not self._is_noted(name)

    def _is_shared(self, step: str, fingerprint: dict[str, Any]) -> bool:
        return self._is_noted(self._name(step, fingerprint))

    def _is_noted(self, name: str) -> bool:
        try:
            noted = read_sealed(self.root / name / SHARED, _Shared)
        except (FileNotFoundError, DamagedError):
            return False  # it is offered to the URL again, which costs a lookup
        return noted == _Shared(name, self._entries.identity)

    def _note_shared(self, step: str, fingerprint: dict[str, Any]) -> None:
        name = self._name(step, fingerprint)
        try:
            write_sealed(self.root / name / SHARED, _Shared(name, self._entries.identity))
        except OSError as error:
            raise self.unwritable(error) from error


def _tell(doing: str, step: str, size: int, url: str) -> None:
    """Report on the terminal that a transfer begins, if it may take a while."""
    if size > TOLD_BYTES:
        screen(err=True).print(f"{doing} {step}, {size / 1e6:.0f} MB: {url}", style="dim")
