"""Hears what the code of a case does outside of its folder: files it writes, programs it starts."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

__all__ = ["listen"]

WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
#: Events of `sys.addaudithook` that change files, with how many of their arguments are paths.
CHANGES = {
    "os.rename": 2,
    "os.remove": 1,
    "os.mkdir": 1,
    "os.rmdir": 1,
    "os.link": 2,
    "os.symlink": 2,
    "os.truncate": 1,
    "os.chmod": 1,
    "os.chown": 1,
    "os.mkfifo": 1,
}
#: Events that reach further than any file.
REACHES = frozenset({"os.system", "os.exec", "os.posix_spawn", "socket.connect", "ctypes.dlopen"})
#: What a batch may open to write: nothing is kept there.
NOWHERE = ("/dev/null", "/dev/shm/", "/proc/self/")  # noqa: S108  # is read here, not written


def listen(folder: Path, *, programs: bool) -> list[str]:
    """Return a list that grows by what this process does outside of `folder`, until its end.

    With `programs` it may start some: those are watched by whoever starts them.
    """
    heard: list[str] = []
    inside = str(folder.resolve())

    def hear(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open":
            path, _, flags = arguments
            paths = [path] if isinstance(flags, int) and flags & WRITES else []
        elif event in REACHES or (event == "subprocess.Popen" and not programs):
            heard.append(f"{event} {str(arguments)[:200]}")
            return
        else:
            paths = list(arguments[: CHANGES.get(event, 0)])
        for path in paths:
            if isinstance(path, str | bytes | os.PathLike):
                # Neither followed nor made a `Path`: both would be heard again.
                whole = os.path.abspath(os.fsdecode(path))  # noqa: PTH100
                if not whole.startswith((inside, *NOWHERE)):
                    heard.append(f"{event} {whole}")

    sys.addaudithook(hear)
    return heard
