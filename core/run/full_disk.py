"""Says that a disk is full where a stage could not write its result, whatever its plugin says.

A plugin takes the system's refusal for a fault of its own work: an exporter then advises another
exporter. What helps is room on the disk.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from errno import ENOSPC
from pathlib import Path

from core.errors import StoreError
from core.machine.remedy import is_full, remedy
from core.store.inventory import size
from core.store.limit import said_of

__all__ = ["full_disk"]


def full_disk(error: Exception, name: str, folder: Path, root: Path) -> StoreError | None:
    """Return the error for stage `name`, which filled a disk; None if `error` has another reason.

    `folder` is that of its unfinished result, in the store at `root`. With `folder` goes a part of
    what fills the disk, and that part counts as free.
    """
    if isinstance(error, StoreError):  # it says so itself
        return None
    link: BaseException | None = error
    while link is not None and not is_full(link):
        link = link.__cause__ or link.__context__
    if link is None:
        return None
    system = link if isinstance(link, OSError) and link.strerror else None
    reason = system.strerror if system else os.strerror(ENOSPC)
    return StoreError(
        f"a disk is full: stage `{name}` could not write its result: {reason}",
        f"at: {system.filename}" if system and system.filename else "",
        *_rooms(folder, root),
        "finished results are kept; to remove old ones: mode=clean clean.older_than_days=1",
        remedy(link, "store=/path/to/folder"),
    )


def _rooms(folder: Path, root: Path) -> list[str]:
    """Return how much room the store and temporary files have, and that it is too little."""
    elsewhere = Path(tempfile.gettempdir())
    try:
        rooms = [_room("the store", root, size(folder))]
        if elsewhere.stat().st_dev != root.stat().st_dev:
            rooms.append(_room("temporary files", elsewhere))
    except OSError:  # one of them is gone, too: the rest of the error remains
        return []
    needed = "than one of them has" if len(rooms) > 1 else "than that"
    return [*rooms, f"needed: more {needed}"]


def _room(what: str, place: Path, unfinished: int = 0) -> str:
    """Return how much room a place has once `unfinished` bytes are gone; raises OSError."""
    disk = shutil.disk_usage(place)
    return f"{what}: {said_of(disk.free + unfinished)} free of {said_of(disk.total)}, at {place}"
