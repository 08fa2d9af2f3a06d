"""Temporary folders that their process removes, or the next process if theirs was killed.

    <parent>/.luthier.of.<system>.<random>/lock       held as long as the folder is in use
    <parent>/.luthier.of.<system>.<random>/<name>/    what `owned_folder` gives

The system releases a lock when its process ends: only that proves that nobody uses a folder.
Process numbers are used again, and two containers may share numbers and a host name.

Why no folder in use is ever removed:

- The maker of a folder puts nothing in it before it holds the lock. Only one process can hold it;
  if a clean-up is faster, the maker takes another folder. A name is random and made once.
- A clean-up holds the lock until the folder is gone, and first renames the folder to a name that
  nobody knows: so a maker that comes late locks another file in another folder.
- A forked process releases its parent's locks (filelock does this), and no program inherits one:
  a lock is never held longer than its owner lives.
- A free lock proves nothing where locks do not reach: on machines that share a folder but not its
  locks (NFS with `local_lock`), or where there are no locks. So each folder names the running
  system that made it, or `NOBODY` without locks. A folder of another system, or from before a
  restart of this one, is removed only when nothing in it has changed for a week.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import re
import shutil
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from filelock import FileLock, Timeout

from core.errors import StoreError
from core.machine.remedy import NO_LOCKS, remedy

__all__ = ["check_there", "clean_up", "locked", "owned_folder", "unwritable"]

LOCK = "lock"
NOBODY = "0" * 12
#: Seconds that a folder stays if its owner cannot be proved dead.
WEEK_S = 7 * 24 * 3600.0
_OURS = re.compile(r"\.luthier\.of\.([0-9a-f]{12})\.[0-9a-f]{12}")
#: How often another folder is tried if clean-ups are faster.
_TRIES = 100


@contextmanager
def owned_folder(parent: Path, name: str) -> Iterator[Path]:
    """Give an empty folder of this name somewhere below `parent`, which is made if it is not there.

    The folder is removed at the end; to keep it, rename it to another place on that disk. Folders
    that killed processes left below `parent` are removed first. Raises OSError.
    """
    parent.mkdir(parents=True, exist_ok=True)
    clean_up(parent)
    owner = os.getpid()
    folder, lock = _taken(parent)
    try:
        (folder / name).mkdir()
        yield folder / name
    finally:
        if os.getpid() == owner:  # not in a forked copy
            _remove(folder, lock)


def check_there(folder: Path) -> None:
    """Raise FileNotFoundError if a folder of `owned_folder` was removed while it was in use.

    A writer that makes missing folders would make it again, without its earlier files.
    """
    if not (folder.parent / LOCK).exists() or not folder.is_dir():
        raise FileNotFoundError(errno.ENOENT, "removed while it was in use", str(folder))


def clean_up(parent: Path) -> None:
    """Remove the folders below `parent` that `owned_folder` gave to processes that are dead."""
    with contextlib.suppress(OSError):
        for folder in parent.glob(".luthier.of.*"):
            known = _OURS.fullmatch(folder.name)
            if known is not None and folder.is_dir() and not folder.is_symlink():
                _sweep(folder, here=known[1] == _system())


def _sweep(folder: Path, *, here: bool) -> None:
    lock = _lock(folder)
    try:
        if not here and time.time() - _changed(folder) < WEEK_S:
            return
        lock.acquire(timeout=0)
    except Timeout:
        return
    except OSError:  # no locks, another user's folder, or another clean-up
        if here or not folder.is_dir():
            return
    unknown = folder.with_name(_new_name(NOBODY))
    with contextlib.suppress(OSError):  # Windows renames no folder with an open file
        folder = folder.rename(unknown)
    _remove(folder, lock)


def _taken(parent: Path) -> tuple[Path, FileLock]:
    """Return a new folder below `parent`, and its lock, which is held if there are locks."""
    system = _system()
    for _ in range(_TRIES):
        folder = parent / _new_name(system)
        folder.mkdir()
        lock = _lock(folder)
        if system == NOBODY:
            (folder / LOCK).touch()
            return folder, lock
        try:
            lock.acquire(timeout=0)
        except (Timeout, FileNotFoundError, FileExistsError):
            parent.stat()  # raises if no clean-up did it, but `parent` is gone
        except OSError as error:
            shutil.rmtree(folder, ignore_errors=True)
            if error.errno not in NO_LOCKS:
                raise
            system = NOBODY
        else:
            return folder, lock
    raise OSError(errno.EBUSY, "folders made there are removed at once", str(parent))


def _remove(folder: Path, lock: FileLock) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    lock.release()
    # Windows removes no open file. Not the whole tree: without the lock it may be in use again.
    with contextlib.suppress(OSError):
        (folder / LOCK).unlink(missing_ok=True)
        folder.rmdir()


def _lock(folder: Path) -> FileLock:
    # The fallback for file systems without locks trusts host names and process numbers.
    return FileLock(folder / LOCK, thread_local=False, fallback_to_soft=False)


def _new_name(system: str) -> str:
    return f".luthier.of.{system}.{uuid.uuid4().hex[:12]}"


def _changed(folder: Path) -> float:
    """Return when anything below `folder` was last changed, in seconds since 1970."""
    latest = folder.lstat().st_mtime
    for place, folders, files in os.walk(folder):
        for name in (*folders, *files):
            with contextlib.suppress(FileNotFoundError):
                latest = max(latest, os.lstat(os.path.join(place, name)).st_mtime)  # noqa: PTH118
    return latest


@cache
def _system() -> str:
    """Return a name of the running system, which all containers on it share."""
    try:
        known = Path("/proc/sys/kernel/random/boot_id").read_bytes()
    except OSError:
        known = str(uuid.getnode()).encode()
    return hashlib.sha256(known).hexdigest()[:12]


def unwritable(
    what: str, error: OSError, place: Path, other: str = "output=/path/to/folder"
) -> StoreError:
    """Return the error that `what`, at `place`, cannot be written; `other` names another place."""
    reason, at = error.strerror or str(error), error.filename or place
    if isinstance(error, shutil.Error):
        # It holds a list of (source, target, reason), one for every file that failed.
        _, at, said = error.args[0][0]
        reason = re.sub(r"^\[Errno \d+\] (.*?)(: '.*)?$", r"\1", str(said), flags=re.DOTALL)
    return StoreError(f"{what} cannot be written: {reason}", f"at: {at}", remedy(error, other))


@contextmanager
def locked(
    lock: Path, what: str, *busy: str, other: str = "output=/path/to/folder"
) -> Iterator[None]:
    """Hold the file `lock` while the block runs; its folder is made if it is not there.

    Raises StoreError: with the lines of `busy` if another process holds it, or saying that `what`
    cannot be written if the system refuses. `other` names another place.
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
