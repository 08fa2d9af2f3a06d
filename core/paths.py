"""Paths that come out of files: resolved below the folder that they belong to, or refused.

A manifest, a record, a ledger or an archive may have been written by anybody. What it names is
looked at only through `below`, so that `../../x`, `/etc/x`, a drive letter or a link that leads
outside ends in one error, before anything is read, written or removed there.
"""

from __future__ import annotations

from pathlib import Path, PurePosixPath, PureWindowsPath

from core.errors import UnsafePathError

__all__ = ["below"]

#: Longest path that a file may name, in characters: more than any file system takes.
LONGEST = 4096


def below(root: Path, name: str, said_by: str) -> Path:
    """Return the path that `name`, relative and with forward slashes, stands for below `root`.

    Neither `root` nor the path need exist; links on the way are followed before it is judged.
    `said_by` says in words where the name was read: `the manifest /a/manifest.jsonl`. Raises
    UnsafePathError for a name that is empty, absolute, of another system, or leads out of `root`.
    """
    reason = _wrong(name)
    if not reason:
        try:
            home = root.resolve()
            # Of `root` itself nothing may be made or removed: it is no path below it.
            path = home.joinpath(*PurePosixPath(name).parts).resolve()
        except (OSError, RuntimeError, ValueError):
            reason = "cannot be resolved"
        else:
            if path != home and path.is_relative_to(home):
                return path
            reason = "leads out of its folder"
    raise UnsafePathError(
        f"a path that was read from a file {reason}",
        f"path: {name[:200]!r}",
        f"named by: {said_by}",
        f"allowed: what lies below {root}",
        "nothing was read, written or removed there; the file is damaged, or not yours",
    )


def _wrong(name: str) -> str:
    """Return what is wrong with a name whatever the folder; empty if nothing is."""
    if not name or name in (".", "./"):
        return "names nothing"
    if len(name) > LONGEST or any(ord(c) < ord(" ") or ord(c) == 0x7F for c in name):  # noqa: PLR2004  # DEL
        return "cannot be a path"
    if PurePosixPath(name).is_absolute() or PureWindowsPath(name).drive or "\\" in name:
        return "is no relative path with forward slashes"
    if ".." in PurePosixPath(name).parts:
        return "leads out of its folder"
    return ""
