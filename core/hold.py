"""A folder that one process at a time works in: of two, the second is told."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from core.errors import StoreError
from core.folder import unwritable

__all__ = ["held"]


@contextmanager
def held(
    lock: Path, what: str, *busy: str, other: str = "output=/path/to/folder"
) -> Iterator[None]:
    """Hold the file `lock` while the block runs; its folder is made if it is not there.

    Raises StoreError with the lines of `busy` where another process holds it, and one that says
    that `what` cannot be written where the system says so; `other` names another place.
    """
    try:
        lock.parent.mkdir(parents=True, exist_ok=True)
        # The fallback for file systems without locks trusts host names and process numbers.
        lock_file = FileLock(lock, fallback_to_soft=False)
        lock_file.acquire(timeout=0)
    except Timeout:
        raise StoreError(*busy) from None
    except OSError as error:
        raise unwritable(what, error, lock, other) from error
    try:
        yield
    finally:
        lock_file.release()
