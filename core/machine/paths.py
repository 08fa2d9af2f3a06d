"""Paths that are read from files: resolved below the folder that they belong to, or refused.

Anybody may have written a manifest, a record, a ledger or an archive. Its paths are used only
through `below`, so that `../../x`, `/etc/x`, a drive letter or a link that leads outside ends in
one error, before anything is read, written or removed there.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path, PurePosixPath, PureWindowsPath

from core.errors import UnsafePathError

__all__ = ["DEVICES", "below", "check_no_links", "wrong_name"]

#: Longest path that a file may name, in characters: more than any file system takes.
LONGEST = 4096
#: Longest part of one, in bytes: no file system in use takes more.
LONGEST_PART = 255
#: Names that Windows gives to devices, in every folder and whatever their ending.
DEVICES = re.compile(r"(con|prn|aux|nul|conin\$|conout\$|(com|lpt)[\d¹²³]) *(\..*)?", re.IGNORECASE)
_WINDOWS = os.name == "nt"


def below(root: Path, name: str, said_by: str, *, links: bool = True) -> Path:
    """Return the path below `root` that `name` stands for: relative, with forward slashes.

    Neither `root` nor the path need exist; links on the way are followed before the check. With
    `links=False` no link is allowed: use it before something is removed or replaced, which would
    otherwise hit the target of the link. `said_by` says in words where the name was read: `the
    manifest /a/manifest.jsonl`. The answer holds only at this moment: ask right before a path is
    used. Raises UnsafePathError for a name that is empty, absolute, of another system, or leads
    out of `root`.
    """
    reason = wrong_name(name)
    if not reason:
        try:
            home = root.resolve()
            straight = home.joinpath(*PurePosixPath(name).parts)
            path = straight.resolve()
        except (OSError, RuntimeError, ValueError):
            reason = "cannot be resolved"
        else:
            # Windows resolves a name to the case that it has on the disk.
            if not links and str(path).casefold() != str(straight).casefold():
                reason = "leads through a link"
            # `root` itself must not be made or removed: it is no path below it.
            elif path == home or not path.is_relative_to(home):
                reason = "leads out of its folder"
            else:
                return path
    raise UnsafePathError(
        f"a path that was read from a file {reason}",
        f"path: {name[:200]!r}",
        f"named by: {said_by}",
        f"allowed: paths below {root}",
        "nothing was read, written or removed there; the file is damaged, or not yours",
    )


def wrong_name(name: str) -> str:
    """Return what is wrong with a name in any folder; empty if nothing is."""
    if len(name) > LONGEST or any(ord(c) < ord(" ") or ord(c) == 0x7F for c in name):  # noqa: PLR2004  # DEL
        return "cannot be a path"
    path = PurePosixPath(name)
    if not path.parts:
        return "names nothing"
    if path.is_absolute() or PureWindowsPath(name).drive or "\\" in name:
        return "is no relative path with forward slashes"
    # Windows drops dots and spaces at the end of a part: there `.. ` is the folder above.
    if any(not part.strip(". ") for part in path.parts):
        return "leads out of its folder"
    if any(len(part.encode(errors="replace")) > LONGEST_PART for part in path.parts):
        return "cannot be a path"
    if _WINDOWS and any(_refused_by_windows(part) for part in path.parts):
        return "cannot be a path on Windows"
    return ""


def _refused_by_windows(part: str) -> bool:
    """Return whether Windows takes a part for something else: a device, a stream, another name."""
    return bool(re.search(r'[<>:"|?*]|[. ]$', part) or DEVICES.fullmatch(part))


def check_no_links(places: Iterable[Path], what: str) -> None:
    """Raise UnsafePathError if one of a folder's own parts is a link; `what` names the folder.

    A file that is written or removed by a fixed name would be the one that the link leads to.
    """
    for own in places:
        # Windows has links of other kinds, too.
        if own.is_symlink() or own.resolve().name.casefold() != own.name.casefold():
            raise UnsafePathError(
                f"`{own.name}`, {what} or a part of it, is a link",
                f"at: {own}",
                f"it leads to: {own.resolve()}",
                "nothing was written or removed there",
                "remove the link, or choose another folder: output=/path/to/folder",
            )
