"""Patterns of paths, such as `folder/**/*.flac`: `*`, `?`, `[abc]`, and `**` for any depth."""

from __future__ import annotations

import fnmatch
import glob
from collections.abc import Iterator
from itertools import takewhile
from pathlib import Path

from core.errors import InputError

__all__ = ["is_pattern", "matching", "top_of"]

#: The most files that a pattern may match.
MOST = 1_000_000


def is_pattern(text: str) -> bool:
    """Return whether `text` is a pattern; the exact name of an existing file is none."""
    return glob.has_magic(text) and not Path(text).expanduser().exists()


def top_of(pattern: str) -> Path:
    """Return the folder that a pattern searches: its first parts, up to a wildcard."""
    return Path(*takewhile(lambda part: not glob.has_magic(part), Path(pattern).expanduser().parts))


def matching(pattern: str) -> list[Path]:
    """Return the files that a pattern matches, in order of name, hidden ones left out.

    Links are followed, and each folder is visited once for each part of the pattern, so that
    links in a circle end. Raises InputError for more than `MOST` files.
    """
    # Path.glob follows no links below `**` and takes no absolute pattern; glob.iglob, which does
    # both, never ends where three links lead to their own folder.
    path, top = Path(pattern).expanduser(), top_of(pattern)
    parts = path.parts[len(top.parts) :]
    found: set[Path] = set()
    seen: set[tuple[Path, int]] = set()
    pending = [(top, 0)]
    while pending:
        place, number = pending.pop()
        if number == len(parts):
            if place.is_file():
                found.add(place)
            if len(found) > MOST:
                raise InputError(
                    f"`{pattern}` matches more than {MOST:,} files", "give a narrower pattern"
                )
            continue
        if not place.is_dir() or (place.resolve(), number) in seen:
            continue
        seen.add((place.resolve(), number))
        pending += _next(place, parts[number], number)
    return sorted(found)


def _next(place: Path, part: str, number: int) -> Iterator[tuple[Path, int]]:
    """Yield where one part of a pattern leads from a folder, with the number of the next part."""
    if part == "**":
        yield place, number + 1
    elif not glob.has_magic(part):
        yield place / part, number + 1
        return
    try:
        names = sorted(entry.name for entry in place.iterdir())
    except OSError:  # a folder that may not be listed matches nothing
        return
    for name in names:
        hidden = name.startswith(".") and not part.startswith(".")
        if part == "**" and not hidden:
            yield place / name, number
            yield place / name, number + 1
        elif part != "**" and not hidden and fnmatch.fnmatch(name, part):
            yield place / name, number + 1
