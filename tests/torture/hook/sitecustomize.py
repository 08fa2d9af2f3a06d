"""Kills a process at one of its file operations, in every Python with this folder on its path.

An operation changes a file below `LUTHIER_KILL_ROOTS`. There is one before a file is opened for
writing, renamed, removed, linked, truncated, or gets other times or rights, and before a folder is
made or removed. There are two for each write, one before it and one in its middle, and one before
data is forced to the disk.
The operations of all processes are counted together, by the length of the file
`LUTHIER_KILL_COUNT`. The process that comes to number `LUTHIER_KILL_AT` ends as by `kill -9`; with
`LUTHIER_KILL_GROUP` its whole group ends.
"""

from __future__ import annotations

import _io
import builtins
import io
import os
import signal
import sys
from typing import Any, Self

#: Events of `sys.addaudithook` that change files, with the number of their arguments for paths.
CHANGES = {
    "os.rename": 2,
    "os.remove": 1,
    "os.mkdir": 1,
    "os.rmdir": 1,
    "os.link": 2,
    "os.symlink": 2,
    "os.truncate": 1,
    "os.utime": 1,
    "os.chmod": 1,
}
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_write, _fsync, _open = os.write, os.fsync, io.open


class Trap:
    """Counts operations, and kills the process at one of them."""

    def __init__(self) -> None:
        self.roots = tuple(os.environ["LUTHIER_KILL_ROOTS"].split(os.pathsep))
        self.at = int(os.environ.get("LUTHIER_KILL_AT", "0"))
        self.group = bool(os.environ.get("LUTHIER_KILL_GROUP"))
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
        self.count = os.open(os.environ["LUTHIER_KILL_COUNT"], flags, 0o600)
        os.set_inheritable(self.count, False)

    def spring(self) -> bool:
        """Count one operation; returns whether the process must end at it."""
        _write(self.count, b".")
        return os.fstat(self.count).st_size == self.at

    def end(self) -> None:
        """End by SIGKILL."""
        if self.group:
            os.killpg(0, signal.SIGKILL)
        os.kill(os.getpid(), signal.SIGKILL)

    def watches(self, path: object) -> bool:
        """Return whether a path, or the file of an open descriptor, is below a root."""
        if isinstance(path, int):
            try:
                path = os.readlink(f"/proc/self/fd/{path}")  # noqa: PTH115  # `Path` would be heard
            except OSError:
                return False
        try:
            whole = os.path.abspath(os.fsdecode(path))  # type: ignore[arg-type]  # noqa: PTH100  # links stay
            return whole.startswith(self.roots)
        except (TypeError, ValueError):
            return False

    def heard(self, event: str, arguments: tuple[Any, ...]) -> None:
        """Handle an audit event, which comes before its operation."""
        if event == "open":
            path, _, flags = arguments
            wanted = flags & WRITES and not isinstance(path, int) and self.watches(path)
        else:
            wanted = any(map(self.watches, arguments[: CHANGES.get(event, 0)]))
        if wanted and self.spring():
            self.end()

    def write(self, descriptor: int, data: Any) -> int:
        """Replace `os.write`; a kill in the middle leaves half of the data."""
        if self.watches(descriptor):
            if self.spring():
                self.end()
            if self.spring():
                _write(descriptor, memoryview(data)[: len(data) // 2])
                self.end()
        return _write(descriptor, data)

    def fsync(self, descriptor: Any) -> None:
        """Replace `os.fsync`."""
        number = descriptor if isinstance(descriptor, int) else descriptor.fileno()
        if self.watches(number) and self.spring():
            self.end()
        _fsync(descriptor)

    def open(self, file: Any, mode: str = "r", *arguments: Any, **named: Any) -> Any:
        """Replace `open`; writes to a file that is opened for writing are operations, too."""
        opened = _open(file, mode, *arguments, **named)
        writes = any(letter in mode for letter in "wax+")
        return Cut(opened, self) if writes and self.watches(opened.fileno()) else opened


class Cut:
    """A file whose writes count as operations."""

    def __init__(self, file: Any, trap: Trap) -> None:
        self._file, self._trap = file, trap

    def write(self, data: Any) -> Any:
        """Write the data; the process may end before the write or after its first half."""
        if self._trap.spring():
            self._trap.end()
        if self._trap.spring():
            self._file.write(data[: len(data) // 2])
            self._file.flush()
            self._trap.end()
        return self._file.write(data)

    def writelines(self, lines: Any) -> None:
        """Write one line after the other."""
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def __enter__(self) -> Self:
        self._file.__enter__()
        return self

    def __exit__(self, *raised: object) -> Any:
        return self._file.__exit__(*raised)

    def __iter__(self) -> Any:
        return iter(self._file)


def install() -> None:
    """Set the trap in this process and in the copies that the process makes of itself."""
    trap = Trap()
    sys.addaudithook(trap.heard)
    os.write, os.fsync = trap.write, trap.fsync
    builtins.open = io.open = _io.open = trap.open


if "LUTHIER_KILL_COUNT" in os.environ:
    install()
