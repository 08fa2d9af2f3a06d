"""The part of the machine that this process may use, and the times when it has all of it.

Points of a sweep that run side by side divide the cores, so that they do not fight. What is timed
is timed alone and on all cores: a latency measured beside another job is no measurement.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["Share", "beside", "held", "take", "threads"]

#: Seconds of waiting after which a person is told what for.
PATIENCE_S = 2.0


class Share:
    """So many `cores` of the machine, and the lock that all who share it hold; None for all of it.

    `lock` is a folder; the shares of one sweep on one machine name the same.
    """

    def __init__(self, cores: int | None = None, lock: Path | None = None) -> None:
        self.cores = cores
        self._alone = self._door = None
        if lock is not None:
            from filelock import FileLock, ReadWriteLock

            lock.mkdir(parents=True, exist_ok=True)
            self._alone = ReadWriteLock(lock / "alone.db")
            # Whoever wants to be alone waits in the door, so that no newcomer gets in before.
            self._door = FileLock(lock / "door.lock")

    @property
    def divided(self) -> bool:
        """Return whether others have shares of the same machine."""
        return self._alone is not None

    @contextmanager
    def held(self, *, timed: bool, waits: Callable[[str], None]) -> Iterator[None]:
        """Run the block beside others, on this share of the cores, or `timed` and alone, on all."""
        if self._alone is None or self._door is None:
            yield
            return
        take_one = self._alone.acquire_write if timed else self._alone.acquire_read
        _patiently(
            self._door.acquire, waits, "another job of the sweep is about to measure; waiting"
        )
        try:
            _patiently(take_one, waits, "another job of the sweep is measuring; waiting")
        finally:
            self._door.release()
        try:
            with _all_cores() if timed else contextlib.nullcontext():
                yield
        finally:
            self._alone.release()


_share = Share()
_on_all = False


def take(share: Share) -> None:
    """Make `share` what this process uses from now on."""
    global _share  # noqa: PLW0603  # a process has one share, as it has one number of threads
    _share = share
    if share.cores:
        # Read by OpenMP when torch is loaded, which may be long after this, or was before.
        os.environ["OMP_NUM_THREADS"] = str(share.cores)
        if (torch := sys.modules.get("torch")) is not None:
            torch.set_num_threads(share.cores)


def held(*, timed: bool, waits: Callable[[str], None]) -> contextlib.AbstractContextManager[None]:
    """Run a block on this process's share, or `timed` and alone: see `Share.held`."""
    return _share.held(timed=timed, waits=waits)


def beside() -> bool:
    """Return whether another job may be running on this machine's cores just now."""
    return _share.divided and not _on_all


def threads() -> int:
    """Return how many threads a library may start now; 0 for as many as it likes.

    What a plugin opens for itself takes this: `options.intra_op_num_threads = threads()`.
    """
    return 0 if _on_all else _share.cores or 0


def _cores() -> int:
    """Return the cores that this process may run on: a scheduler may have given it a few."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _patiently(acquire: Callable[[float], object], waits: Callable[[str], None], why: str) -> None:
    """Wait in rounds, for a wait inside of SQLite hears no Ctrl-C; say `why` once it takes long."""
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
