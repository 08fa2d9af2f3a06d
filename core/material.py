"""What a stored result depends on: the plugin, its source, its options, and its libraries.

The material is plain JSON, so that `mode=plan` can say which line of it changed.
"""

from __future__ import annotations

import dataclasses
import errno
import functools
import hashlib
import importlib.metadata
import json
import os
import platform
import stat
import sys
from enum import Enum
from pathlib import Path
from typing import Any

from core import source
from core.kinds import Plugin

#: Longest value that a line of `changes` shows whole, in characters.
SHOWN = 40

#: What may not lie in a folder of results, in words; what else there may be is a `special file`.
KINDS = {
    stat.S_IFLNK: "symbolic link",
    stat.S_IFIFO: "pipe",
    stat.S_IFSOCK: "socket",
    stat.S_IFBLK: "device",
    stat.S_IFCHR: "device",
}

__all__ = [
    "canonical",
    "changes",
    "digest",
    "file_digest",
    "files_below",
    "folder_digest",
    "of_plugin",
]


def canonical(material: object) -> bytes:
    """Return a JSON value as the one text that stands for it, whatever the order of its keys."""
    text = json.dumps(material, sort_keys=True, separators=(",", ":"), default=str)
    return text.encode()


def digest(material: object) -> str:
    """Return the SHA-256 of a JSON value, whatever the order of its keys."""
    return hashlib.sha256(canonical(material)).hexdigest()


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def files_below(folder: Path) -> list[Path]:
    """Return every file below `folder`, sorted; raises OSError for what is no file and no folder.

    A link may lead to what others change or delete, a pipe never ends. A second name of a file (a
    hard link) is a file like any other: backups and tools that save room make them, and the digest
    shows a change that was made through another name.
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


def of_plugin(plugin: Plugin[Any]) -> dict[str, Any]:
    """Return what the results of `plugin` depend on, beside its inputs."""
    cls = type(plugin)
    options = dataclasses.asdict(plugin.options)
    return {
        "kind": cls.kind,
        "plugin": cls.name,
        "version": cls.version,
        "source": source.of_module(cls.__module__),
        "kind_source": [
            source.tree_digest(c) for c in cls.__mro__ if c.__module__ == Plugin.__module__
        ],
        "options": json.loads(json.dumps(options, sort_keys=True, default=_plain)),
        "libraries": {
            lib.distribution or lib.module: _version(lib.distribution or lib.module)
            for lib in cls.libraries
        },
        "platform": f"{sys.platform}-{platform.machine()}",
    }


def _plain(value: object) -> str:
    return value.name if isinstance(value, Enum) else str(value)


@functools.cache
def _version(distribution: str) -> str:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return "absent"


def changes(old: object, new: object, path: str = "") -> list[str]:
    """Return one line per difference between two materials, such as `options.length: 1 -> 2`."""
    if isinstance(old, dict) and isinstance(new, dict):
        lines: list[str] = []
        for key in sorted({*old, *new}):
            lines += changes(old.get(key), new.get(key), f"{path}.{key}" if path else str(key))
        return lines
    if old == new:
        return []
    if path.startswith("code."):
        return [f"{path.removeprefix('code.')}: the core's code changed"]
    if path.endswith("source"):
        return [f"{path}: the plugin's code changed"]
    return [f"{path}: {_short(old)} -> {_short(new)}"]


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= SHOWN else f"{text[:12]}…"
