"""Records the acts of a case outside its folder: written files and started programs."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

__all__ = ["listen"]

WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
#: Events of `sys.addaudithook` that change files, with the number of their arguments for paths.
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
#: Events that have effects beyond files.
REACHES = frozenset({"os.system", "os.exec", "os.posix_spawn", "socket.connect", "ctypes.dlopen"})
#: Paths that a case may open to write: nothing is kept there.
NOWHERE = ("/dev/null", "/dev/shm/", "/proc/self/")  # noqa: S108  # is read here, not written


def listen(folder: Path, *, programs: bool) -> list[str]:
    """Return a list of the acts of this process outside `folder`; it grows until the process ends.

    With `programs` the process may start programs, which the caller watches.
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
                # Neither followed nor turned into a `Path`: both would be recorded again.
                whole = os.path.abspath(os.fsdecode(path))  # noqa: PTH100
                if not whole.startswith((inside, *NOWHERE)):
                    heard.append(f"{event} {whole}")

    sys.addaudithook(hear)
    return heard
