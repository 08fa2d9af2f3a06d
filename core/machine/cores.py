"""The part of the machine that this process may use, and the times when it has all of it.

Points of a sweep that run side by side divide the cores among them. A job that is timed runs alone
and on all cores: a latency measured beside another job is no measurement.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import get_ident

__all__ = [
    "CoreShare",
    "beside",
    "divided",
    "exclusive",
    "shared",
    "take",
    "threads",
    "yield_to_exclusive",
]

#: Seconds of waiting after which the reason is reported.
PATIENCE_S = 2.0
#: Seconds between two checks whether another job wants to be alone.
LOOK_S = 0.1


class CoreShare:
    """A number of `cores`, None for all, and the lock that all jobs on this machine share.

    `lock` is a folder, the same one for all shares of one sweep on one machine.
    """

    def __init__(self, cores: int | None = None, lock: Path | None = None) -> None:
        self.cores = cores
        self._lock = self._door = None
        self._inside = False
        # The thread that holds the lock beside others, and when it next checks for waiting jobs.
        self._thread: int | None = None
        self._next_look = 0.0
        if lock is not None:
            from filelock import FileLock, ReadWriteLock

            lock.mkdir(parents=True, exist_ok=True)
            self._lock = ReadWriteLock(lock / "alone.db")
            # A job that wants to be alone holds the door while it waits, so that no other enters.
            self._door = FileLock(lock / "door.lock")

    @property
    def divided(self) -> bool:
        """Return whether others have shares of the same machine."""
        return self._lock is not None

    @contextmanager
    def shared(self, waits: Callable[[str], None]) -> Iterator[None]:
        """Run the block beside others, on this share of the cores."""
        self._enter(timed=False, waits=waits)
        try:
            yield
        finally:
            self._leave()

    def yield_to_exclusive(self, waits: Callable[[str], None]) -> None:
        """Let a job that wants to be alone go first, in the middle of a `shared` block.

        It costs next to nothing, however often it is called. Outside of such a block, and in
        threads that the block started, it does nothing.
        """
        from filelock import Timeout

        now = time.monotonic()
        if self._door is None or self._thread != get_ident() or now < self._next_look:
            return
        self._next_look = now + LOOK_S
        try:
            self._door.acquire(timeout=0)
        except Timeout:
            self._leave()
            self._enter(timed=False, waits=waits)
        else:
            self._door.release()

    @contextmanager
    def exclusive(self, waits: Callable[[str], None]) -> Iterator[None]:
        """Run the block alone and on all cores, inside a `shared` block or outside of one."""
        inside = self._leave()
        self._enter(timed=True, waits=waits)
        try:
            with _all_cores() if self.divided else contextlib.nullcontext():
                yield
        finally:
            self._leave()
        # A block that failed, or was interrupted, does not wait for its share again.
        if inside:
            self._enter(timed=False, waits=waits)

    def _enter(self, *, timed: bool, waits: Callable[[str], None]) -> None:
        if self._lock is None or self._door is None:
            return
        take_one = self._lock.acquire_write if timed else self._lock.acquire_read
        _patiently(
            self._door.acquire, waits, "another job of the sweep is about to measure; waiting"
        )
        try:
            _patiently(take_one, waits, "another job of the sweep is measuring; waiting")
        finally:
            self._door.release()
        self._inside = True
        self._thread = None if timed else get_ident()

    def _leave(self) -> bool:
        """Release the lock; returns whether it was held."""
        was, self._inside, self._thread = self._inside, False, None
        if was and self._lock is not None:
            self._lock.release()
        return was


_share = CoreShare()
_on_all = False


def take(share: CoreShare) -> None:
    """Make `share` what this process uses from now on."""
    global _share  # noqa: PLW0603  # a process has one share, as it has one number of threads
    _share = share
    if share.cores:
        # OpenMP reads this when torch is loaded, which may be long after this, or was before.
        os.environ["OMP_NUM_THREADS"] = str(share.cores)
        if (torch := sys.modules.get("torch")) is not None:
            torch.set_num_threads(share.cores)


def shared(waits: Callable[[str], None]) -> contextlib.AbstractContextManager[None]:
    """Run a block beside others, on this process's share; `waits` gets the reason of a wait."""
    return _share.shared(waits)


def exclusive(waits: Callable[[str], None]) -> contextlib.AbstractContextManager[None]:
    """Run a block that is timed: alone, and on all cores; `waits` as in `shared`.

    Keep it short, for all other jobs of the sweep wait meanwhile.
    """
    return _share.exclusive(waits)


def divided() -> bool:
    """Return whether others have shares of the same machine."""
    return _share.divided


def yield_to_exclusive(waits: Callable[[str], None]) -> None:
    """Let a job that wants to be alone go first, in the middle of a `shared` block."""
    _share.yield_to_exclusive(waits)


def beside() -> bool:
    """Return whether another job may be running on this machine's cores just now."""
    return _share.divided and not _on_all


def threads() -> int:
    """Return how many threads a library may start now; 0 for as many as it likes.

    A session that a plugin opens takes this: `options.intra_op_num_threads = threads()`.
    """
    return 0 if _on_all else _share.cores or 0


def _cores() -> int:
    """Return the cores that this process may run on: a scheduler may have given it a few."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _patiently(acquire: Callable[[float], object], waits: Callable[[str], None], why: str) -> None:
    """Wait in rounds, because a wait inside SQLite ignores Ctrl-C; report `why` after a round."""
    from filelock import Timeout

    said = False
    while True:
        try:
            acquire(PATIENCE_S)
        except Timeout:
            if not said:
                waits(why)
            said = True
        else:
            return


@contextmanager
def _all_cores() -> Iterator[None]:
    """Let torch use every core while the block runs, loaded or not."""
    global _on_all  # noqa: PLW0603  # as `_share`
    own = os.environ.pop("OMP_NUM_THREADS", None)
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.set_num_threads(_cores())
    _on_all = True
    try:
        yield
    finally:
        _on_all = False
        if own is not None:
            os.environ["OMP_NUM_THREADS"] = own
            if (torch := sys.modules.get("torch")) is not None:
                torch.set_num_threads(int(own))
