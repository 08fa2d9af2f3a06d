"""A child process with a limit on its time and on its memory, whose output is followed live."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Literal

__all__ = ["PROGRESS_MARK", "ChildEnd", "Limits", "Progress", "run_watched", "session_rss_bytes"]

Progress = Callable[[str, float], None]
"""Called with what is going on and the seconds since the start, about once a second."""

PROGRESS_MARK = "@progress "
"""What a line of the child starts with when it is meant for the person who waits."""

_POLL_S = 0.1
_TELL_S = 1.0
_TAIL_LINES = 60


@dataclass(frozen=True)
class Limits:
    """What a child may use before it is killed."""

    seconds: float = 900.0
    """Wall-clock time."""
    memory_bytes: int | None = None
    """Resident memory of the child and its descendants; `None` is no limit. Linux only."""


@dataclass(frozen=True)
class ChildEnd:
    """How a child ended."""

    cause: Literal["exit", "timeout", "memory"]
    """`exit` when it ended by itself, else the limit for which it was killed."""
    code: int
    """Exit status; the negative number of a signal that ended it."""
    tail: str
    """The last lines that it wrote to either stream."""
    peak_rss_bytes: int
    """Largest resident memory seen, of the child and its descendants; 0 without `/proc`."""
    seconds: float
    """Wall-clock time it lived."""


def session_rss_bytes(leader: int) -> int:
    """Return the resident memory of every process in the session of `leader`; 0 without `/proc`.

    A session, unlike a tree of parents, still holds grandchildren whose parent has died.
    """
    pages = 0
    for entry in Path("/proc").glob("[0-9]*/stat"):
        # A process may end between the listing and the reading.
        with contextlib.suppress(OSError, ValueError, IndexError):
            # The name in parentheses may itself hold spaces, so count fields after it.
            fields = entry.read_text(errors="replace").rpartition(")")[2].split()
            if int(fields[3]) == leader:
                pages += int(fields[21])
    return pages * os.sysconf("SC_PAGE_SIZE") if pages else 0


class _Follower(threading.Thread):
    """Reads the child's output, so that its pipe never fills, and remembers the end of it."""

    def __init__(self, stream: IO[str]) -> None:
        super().__init__(daemon=True)
        self.stream = stream
        self.lines: deque[str] = deque(maxlen=_TAIL_LINES)
        self.message = "starting"

    def run(self) -> None:
        """Read until the last process that holds the pipe has ended."""
        with self.stream:
            for line in self.stream:
                if line.startswith(PROGRESS_MARK):
                    self.message = line.removeprefix(PROGRESS_MARK).rstrip()
                else:
                    self.lines.append(line.rstrip())


def run_watched(
    command: Sequence[str],
    *,
    limits: Limits,
    progress: Progress | None = None,
    environment: Mapping[str, str] | None = None,
    folder: Path,
) -> ChildEnd:
    """Run `command` (no shell) in `folder` until it ends or breaks a limit.

    Whatever ends the wait, an exception such as Ctrl-C included, the child and its descendants
    are dead when this returns. Raises `OSError` when the command cannot be started.
    """
    started = time.monotonic()
    process = subprocess.Popen(  # noqa: S603  # a list of the caller's own words, no shell
        list(command),
        cwd=folder,
        env=None if environment is None else dict(environment),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
        errors="replace",
        start_new_session=True,
    )
    assert process.stdout is not None
    follower = _Follower(process.stdout)
    follower.start()
    cause: Literal["exit", "timeout", "memory"] = "exit"
    peak, told, message = 0, started, ""
    try:
        while process.poll() is None:
            elapsed = time.monotonic() - started
            rss = session_rss_bytes(process.pid)
            peak = max(peak, rss)
            if elapsed > limits.seconds:
                cause = "timeout"
                break
            if limits.memory_bytes is not None and rss > limits.memory_bytes:
                cause = "memory"
                break
            due = time.monotonic() - told >= _TELL_S
            if progress is not None and (due or follower.message != message):
                told, message = time.monotonic(), follower.message
                progress(message, elapsed)
            time.sleep(_POLL_S)
    finally:
        _kill(process)
        follower.join(timeout=5.0)
    code = process.wait()
    tail = "\n".join(follower.lines)
    return ChildEnd(cause, code, tail, peak, time.monotonic() - started)


def _kill(process: subprocess.Popen[str]) -> None:
    """Kill the child's whole session; a child that has ended may have left descendants."""
    if hasattr(os, "killpg"):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
    else:
        process.kill()
    process.wait()
