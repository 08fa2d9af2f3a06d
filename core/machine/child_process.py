"""A child process with limits on its time and memory, that dies with this one, followed live.

    end = run_watched(
        python_child("plugins.runtime._htp.child", str(question)),  # or any command, as a list
        limits=Limits(seconds=60, memory_bytes=2 * 2**30, hard=True),
        environment=child_environment(),
        folder=work.folder,
    )
    if end.cause == "memory": ...        # or "timeout"; "exit" if the child ended by itself
    elif end.code: ... end.tail ...      # exit status, or minus a signal; the last lines it wrote

The child has no standard input. It writes its answer to a file whose path it is given: both of its
output streams are mixed into `tail`, but a line that starts with `PROGRESS_MARK` goes to
`progress`. The child and all its descendants (except those that open a session of their own) are
dead when `run_watched` returns, and soon after this process has ended in any way, SIGKILL included:
core/machine/child_guard.py ensures that.

`python_child` starts Python with the libraries of this process, and nothing else. By default Python
runs a `sitecustomize.py` that it finds along PYTHONPATH, and imports from the folder it is started
in. In isolated mode (`-I`) it does neither; its command line says where the libraries of this
process lie.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal

import psutil

from core.machine.child_guard import guarded
from core.machine.telemetry import SILENT

__all__ = [
    "PROGRESS_MARK",
    "ChildEnd",
    "Limits",
    "Progress",
    "asked_of_child",
    "child_environment",
    "python_child",
    "run_watched",
    "session_rss_bytes",
]

Progress = Callable[[str, float], None]
"""Called with what is going on and the seconds since the start, about once a second."""

PROGRESS_MARK = "@progress "
"""What a line of the child starts with when it is meant for the person who waits."""

_POLL_S = 0.1
_TELL_S = 1.0
_TAIL_LINES = 60
#: The folder that holds `core`: a checkout, or where packages are installed.
_ROOT = str(Path(__file__).resolve().parents[2])
# The child's own folders come before those that only the parent had, so that nothing along
# PYTHONPATH shadows the standard library or an installed package.
_START = """\
import json, runpy, sys
module, root, *others = json.loads(sys.argv.pop())
sys.path[:0] = [] if root in sys.path else [root]
sys.path += [folder for folder in others if folder not in sys.path]
runpy.run_module(module, run_name="__main__", alter_sys=True)
"""


@dataclass(frozen=True)
class Limits:
    """What a child may use before it is killed."""

    seconds: float = 900.0
    """Wall-clock time."""
    memory_bytes: int | None = None
    """Resident memory of the child and its descendants, looked at every 0.1 s; `None`: no limit."""
    hard: bool = False
    """Whether the system also refuses each process more data than `memory_bytes` (RLIMIT_DATA).

    It leaves no time between two looks, so it is for what opens files of strangers; then a child
    ends by itself (MemoryError, `std::bad_alloc`). Space that is reserved and never used counts.
    """


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
    """Largest resident memory seen, of the child and its descendants."""
    seconds: float
    """Wall-clock time it lived."""


def python_child(module: str, *arguments: str) -> list[str]:
    """Return the command that runs `module` as `__main__` with `arguments`, in isolated mode."""
    here = {""}  # Python's own addition for `-m` and `-c`; no library lies there
    with contextlib.suppress(FileNotFoundError):  # somebody has removed the folder
        here.add(str(Path.cwd()))
    folders = [_ROOT, *(folder for folder in sys.path if folder not in here)]
    # `-I` also ignores PYTHONDONTWRITEBYTECODE, so the parent's setting is passed on.
    flags = ["-I", *(["-B"] if sys.dont_write_bytecode else [])]
    return [sys.executable, *flags, "-c", _START, *arguments, json.dumps([module, *folders])]


def asked_of_child(
    module: str,
    request: Mapping[str, Any],
    name: str,
    *,
    limits: Limits,
    folder: Path,
    progress: Progress | None = None,
) -> tuple[ChildEnd, dict[str, Any]]:
    """Have a child answer a request, both in JSON; return how it ended, and its answer.

    The child runs `module`, and gets the path of a file with `request`, in which `answer` names the
    file to write. Both lie in `folder`, begin with `name`, and are removed. The answer is {} where
    the child wrote none.
    """
    stem = f"{name}-{uuid.uuid4().hex[:8]}"
    question, reply = folder.resolve() / f"{stem}.request.json", folder.resolve() / f"{stem}.json"
    question.write_text(json.dumps({**request, "answer": str(reply)}), encoding="utf-8")
    try:
        end = run_watched(
            python_child(module, str(question)),
            limits=limits,
            progress=progress,
            environment=child_environment(),
            folder=folder,
        )
        answer = json.loads(reply.read_text(encoding="utf-8")) if reply.is_file() else {}
    finally:
        question.unlink(missing_ok=True)
        reply.unlink(missing_ok=True)
    return end, answer


def child_environment() -> dict[str, str]:
    """Return this process's environment without Python's variables, and with telemetry off."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    return {**kept, **SILENT}


def session_rss_bytes(leader: int) -> int:
    """Return the resident memory of all processes in the session of `leader`, without its own.

    A session, unlike a tree of parents, still holds grandchildren whose parent has died. Without
    sessions (Windows) the tree is measured.
    """
    if not hasattr(os, "getsid"):
        try:
            below = psutil.Process(leader).children(recursive=True)
        except psutil.Error:
            return 0
        return sum(map(_rss_bytes, below))
    total = 0
    for pid in _session(leader):
        with contextlib.suppress(psutil.Error):
            total += _rss_bytes(psutil.Process(pid)) if pid != leader else 0
    return total


def _session(leader: int) -> list[int]:
    found = []
    for pid in psutil.pids():
        # A process may end after it was listed.
        with contextlib.suppress(OSError):
            if os.getsid(pid) == leader:
                found.append(pid)
    return found


def _rss_bytes(process: psutil.Process) -> int:
    try:
        return int(process.memory_info().rss)
    except psutil.Error:
        return 0


class _Follower(threading.Thread):
    """Reads the child's output, so that its pipe never fills, and remembers the end of it."""

    def __init__(self, stream: IO[str]) -> None:
        super().__init__(daemon=True)
        self.stream = stream
        self.lines: deque[str] = deque(maxlen=_TAIL_LINES)
        self.message = "starting"

    def run(self) -> None:
        """Read until the last process that holds the pipe has ended, or the pipe is closed."""
        with contextlib.suppress(ValueError), self.stream:
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
    path = None if environment is None else environment.get("PATH", os.defpath)
    if shutil.which(folder / command[0] if os.sep in command[0] else command[0], path=path) is None:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), command[0])
    data = limits.memory_bytes if limits.hard and limits.memory_bytes is not None else 0
    started = time.monotonic()
    process = subprocess.Popen(  # noqa: S603  # a list of the caller's own words, no shell
        guarded(command, data_bytes=data),
        cwd=folder,
        env=None if environment is None else dict(environment),
        stdin=subprocess.PIPE,  # never written to: the guard sees it close when we end
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
        errors="replace",
        start_new_session=True,
    )
    assert process.stdout is not None
    follower = _Follower(process.stdout)
    cause: Literal["exit", "timeout", "memory"] = "exit"
    peak, told, message = 0, started, ""
    try:
        follower.start()
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
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(_POLL_S)
    finally:
        _kill(process)
        if follower.is_alive():  # Ctrl-C may come while it is being started
            follower.join(timeout=5.0)
        else:
            process.stdout.close()
    code = process.wait()
    tail = "\n".join(follower.lines)
    return ChildEnd(cause, code, tail, peak, time.monotonic() - started)


def _kill(process: subprocess.Popen[str]) -> None:
    """Kill the child's whole session; a child that has ended may have left descendants."""
    if hasattr(os, "killpg"):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        for pid in _session(process.pid):  # those that made a process group of their own
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
    elif process.stdin is not None:
        process.stdin.close()  # the guard kills the tree, which only it still knows
    process.wait()
    if process.stdin is not None:
        process.stdin.close()
