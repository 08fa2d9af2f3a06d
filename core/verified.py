"""The hash of a stored folder, computed once in a process as long as its files stay as they were.

A sweep plans the same entries for every one of its points, and an entry may hold gigabytes.
"""

from __future__ import annotations

import time
from pathlib import Path

from core.material import files_below, folder_digest

__all__ = ["verified_digest"]

#: Files younger than this may change once more without a change of their time stamps, whose steps
#: are coarse on some disks (2 s on FAT, 1 s on HFS+ and NFSv2): they are hashed each time.
SETTLED_S = 2.0

#: What a file is known by: its name, size, times of its content and of its inode, and the inode.
_Stamp = tuple[str, int, int, int, int]
_known: dict[Path, tuple[tuple[_Stamp, ...], str]] = {}


def verified_digest(folder: Path) -> str:
    """Return `folder_digest`, from memory where no file has changed since; raises OSError.

    A change by a program is seen in the stamps, whatever it does to the time of the content. What a
    disk itself loses below the system changes no stamp: that is seen by the next process.
    """
    before = _stamps(folder)
    known = _known.get(folder)
    if known is not None and known[0] == before:
        return known[1]
    digest = folder_digest(folder)
    # A copy keeps the time of its content from long ago: only its inode tells that it is young.
    newest = max((max(modified, changed) for _, _, modified, changed, _ in before), default=0)
    if time.time_ns() - newest > SETTLED_S * 1e9 and _stamps(folder) == before:
        _known[folder] = (before, digest)
    return digest


def _stamps(folder: Path) -> tuple[_Stamp, ...]:
    found = []
    for file in files_below(folder):
        stat = file.lstat()
        name = file.relative_to(folder).as_posix()
        found.append((name, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino))
    return tuple(found)
