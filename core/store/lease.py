"""A lock among machines that share nothing but an object store: a lease, renewed while in use.

    locks/<name>/<n>    who holds the lock for the n-th time; created once, then renewed

The process that creates the next number holds the lock. Clocks are never compared: a waiter takes a
holder for dead if its object did not change for the length of a lease on the waiter's own clock.
Two that take over at once try to create the same number, and only one of them can.

A holder that is not dead but was stopped for longer (a laptop that slept) goes on beside the one
that took over. That only costs the work twice: the store keeps the first result.
"""

from __future__ import annotations

import contextlib
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass

from core.errors import StoreError
from core.store.object_store import Remote
from core.store.sealed import DamagedError, sealed, unsealed

__all__ = ["LEASE_S", "Lease"]

#: Seconds without a renewal before others take a holder for dead: longer than a library's code
#: keeps Python from running the thread that renews.
LEASE_S = 30.0
#: Renewals in the length of a lease: some may fail.
RENEWALS = 6
#: Seconds of waiting after which it is reported.
TOLD_S = 2.0


@dataclass(frozen=True)
class _Held:
    """What a holder's object says; `beat` counts its renewals."""

    holder: str
    beat: int
    released: bool


class Lease:
    """The lock `name` of the store at `remote`; one instance for each attempt to hold it."""

    def __init__(self, remote: Remote, name: str, seconds: float = LEASE_S) -> None:
        self._remote, self._folder, self._seconds = remote, f"locks/{name}", seconds
        self._holder, self._beat, self._number = uuid.uuid4().hex, 0, 0
        self._over = threading.Event()
        self._renewing = threading.Thread(target=self._renew, name=f"lease {name}", daemon=True)

    def acquire(self, waits: Callable[[], None]) -> None:
        """Wait until this is the holder; calls `waits` if that takes long."""
        started, told, seen, since = time.monotonic(), False, (0, b""), time.monotonic()
        while True:
            number, content = self._newest()
            if (number, content) != seen:
                seen, since = (number, content), time.monotonic()
            dead = time.monotonic() - since > self._seconds
            if (content == b"" or _released(content) or dead) and self._taken(number + 1):
                return
            if not told and time.monotonic() - started > TOLD_S:
                waits()
                told = True
            time.sleep(min(1.0, self._seconds / RENEWALS))

    def release(self, *, done: bool) -> None:
        """Release the lock; if the result is there (`done`), remove it: nobody needs it any more.

        A failure is ignored: the lease runs out by itself, and the result is kept.
        """
        self._over.set()
        # A renewal that is under way must not overwrite what is written here.
        self._renewing.join()
        with contextlib.suppress(StoreError):
            if not done:
                self._remote.write(self._path(self._number), self._content(released=True))
                return
            # No higher number: another process holds that.
            ours = [self._path(n) for n in self._numbers() if n <= self._number]
            self._remote.remove(ours)

    def _taken(self, number: int) -> bool:
        """Try to become the holder for the `number`-th time."""
        if not self._remote.create(self._path(number), self._content()):
            return False
        self._number = number
        self._renewing.start()
        return True

    def _renew(self) -> None:
        while not self._over.wait(self._seconds / RENEWALS):
            self._beat += 1
            with contextlib.suppress(StoreError):  # the next may succeed
                self._remote.write(self._path(self._number), self._content())

    def _newest(self) -> tuple[int, bytes]:
        """Return the highest number and what is there; 0 and nothing where there is none."""
        number = max(self._numbers(), default=0)
        return number, (self._remote.read(self._path(number)) or b"") if number else b""

    def _numbers(self) -> list[int]:
        names = (path.rpartition("/")[2] for path in self._remote.below(self._folder))
        return [int(name) for name in names if name.isdigit()]

    def _path(self, number: int) -> str:
        return f"{self._folder}/{number}"

    def _content(self, *, released: bool = False) -> bytes:
        return sealed(_Held(self._holder, self._beat, released))


def _released(content: bytes) -> bool:
    try:
        return unsealed(content, _Held).released
    except DamagedError:
        return False  # its holder writes it again, or is dead
