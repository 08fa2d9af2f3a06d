"""Patterns of paths, such as `songs/**/*.flac`: `*`, `?`, `[abc]`, and `**` for any depth."""

from __future__ import annotations

import glob
from itertools import takewhile
from pathlib import Path

__all__ = ["is_pattern", "matching", "top_of"]


def is_pattern(text: str) -> bool:
    """Return whether `text` stands for several files; what exists under that very name does not."""
    return glob.has_magic(text) and not Path(text).expanduser().exists()


def top_of(pattern: str) -> Path:
    """Return the folder that a pattern looks below: all of it that holds no wildcard."""
    return Path(*takewhile(lambda part: not glob.has_magic(part), Path(pattern).expanduser().parts))


def matching(pattern: str) -> list[Path]:
    """Return the files that a pattern matches, in order of name, hidden ones left out."""
    # Path.glob follows no links below `**` and takes no absolute pattern; this does both.
    found = glob.iglob(str(Path(pattern).expanduser()), recursive=True)  # noqa: PTH207
    return sorted({Path(name) for name in found if Path(name).is_file()})
