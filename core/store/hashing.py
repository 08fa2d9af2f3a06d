"""SHA-256 of values, files and folders; an unchanged folder is hashed once per process."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import stat
import time
from pathlib import Path

__all__ = ["canonical", "digest", "file_digest", "files_below", "folder_digest", "verified_digest"]

#: Names of what may not lie in a folder of results; anything else is a `special file`.
KINDS = {
    stat.S_IFLNK: "symbolic link",
    stat.S_IFIFO: "pipe",
    stat.S_IFSOCK: "socket",
    stat.S_IFBLK: "device",
    stat.S_IFCHR: "device",
}


def canonical(fingerprint: object) -> bytes:
    """Return a JSON value as the one text that stands for it, whatever the order of its keys."""
    text = json.dumps(fingerprint, sort_keys=True, separators=(",", ":"), default=str)
    return text.encode()


def digest(fingerprint: object) -> str:
    """Return the SHA-256 of a JSON value, whatever the order of its keys."""
    return hashlib.sha256(canonical(fingerprint)).hexdigest()


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def files_below(folder: Path) -> list[Path]:
    """Return every file below `folder`, sorted; raises OSError for all but files and folders.

    A link may lead to files that others change or delete; a pipe never ends. A second name of a
    file (a hard link) is a file like any other: backups and tools that save space make them, and
    the digest shows a change that was made through another name.
    """
    found: list[Path] = []
    pending = [_plain_kind(folder, stat.S_IFDIR)]
    while pending:
        with os.scandir(pending.pop()) as entries:
            for entry in entries:
                path = Path(entry.path)
                if entry.is_dir(follow_symlinks=False):
                    pending.append(path)
                else:
                    found.append(_plain_kind(path, stat.S_IFREG))
    return sorted(found)


def _plain_kind(path: Path, wanted: int) -> Path:
    kind = stat.S_IFMT(path.lstat().st_mode)
    if kind != wanted:
        name = KINDS.get(kind, "special file" if kind not in (stat.S_IFREG, stat.S_IFDIR) else "")
        what = f"a {name}" if name else "no folder"
        raise OSError(errno.EINVAL, f"{what}, where only files and folders may be", str(path))
    return path


def folder_digest(folder: Path) -> str:
    """Return the SHA-256 over names and contents of every file below `folder`.

    Raises OSError where it holds anything but files and folders (`files_below`).
    """
    files = files_below(folder)
    return digest([[p.relative_to(folder).as_posix(), file_digest(p)] for p in files])


#: A file younger than this may change again and keep its time stamps, whose steps are coarse on
#: some disks (2 s on FAT, 1 s on HFS+ and NFSv2). So it is hashed each time.
SETTLED_S = 2.0
#: What identifies a file: its name, size, times of its content and of its inode, and the inode.
_Stamp = tuple[str, int, int, int, int]
_known: dict[Path, tuple[tuple[_Stamp, ...], str]] = {}


def verified_digest(folder: Path) -> str:
    """Return `folder_digest`, from memory where no file has changed since; raises OSError.

    The stamps show a change by a program, whatever it does to the time of the content. Damage by
    the disk itself changes no stamp: the next process sees it.
    """
    before = _stamps(folder)
    known = _known.get(folder)
    if known is not None and known[0] == before:
        return known[1]
    digest = folder_digest(folder)
    # A copy keeps the old time of its content: only the time of its inode shows that it is young.
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
