"""Stands between a process and its child: runs a command, and kills it when the process is gone.

The command that `guarded` returns runs this file as a script; it imports only the standard library.
Its standard input is a pipe, and only the process holds the other end. However the process ends,
SIGKILL included, the system closes that end, and the guard kills its own session: the command and
all that it started. If the command ends by itself, the guard kills what it leaves running.

A thread in the child would not do: a library that holds Python's lock stops all threads. Nor would
the death signal of Linux alone: it comes when the starting *thread* ends, it reaches no grandchild,
and other systems have none. Here it only covers the death of the guard itself.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Sequence
from typing import NoReturn

__all__ = ["die_with", "guarded", "main"]

_PR_SET_PDEATHSIG = 1
_NOT_STARTED = 127


def guarded(
    command: Sequence[str], *, data_bytes: int = 0, reads: int = -1, grace_s: float = 0.0
) -> list[str]:
    """Return the command that runs `command` behind a guard.

    The caller starts it in a new session, with a pipe as its standard input, and never writes to
    that. `command` may have `data_bytes` of data (0 is no limit) and reads from the open file
    descriptor `reads` (-1 is none). After the caller's death it has `grace_s` seconds to end.
    """
    given = (str(data_bytes), str(reads), str(grace_s))
    return [sys.executable, "-I", "-S", os.path.abspath(__file__), *given, *command]  # noqa: PTH100  # light


def die_with(parent: int) -> None:
    """Have Linux kill this process when `parent`, which has started it, ends; at once if it has."""
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(_NOT_STARTED)


def main(data_bytes: int, reads: int, grace_s: float, command: list[str]) -> NoReturn:
    """Run `command` and end as it does: with its exit status, or by the signal that ended it."""
    if not hasattr(os, "fork"):
        _on_windows(command)
    guard = os.getpid()
    child = os.fork()  # this process has one thread
    if not child:
        try:
            die_with(guard)
            _become(data_bytes, reads, command)
        except BaseException as error:
            os.write(2, f"`{command[0]}` cannot be started: {error}\n".encode(errors="replace"))
        os._exit(_NOT_STARTED)
    if reads >= 0:
        os.close(reads)
    threading.Thread(target=_outlive_the_parent, args=(grace_s,), daemon=True).start()
    _, status = os.waitpid(child, 0)
    _kill_the_others()
    _end_as(os.waitstatus_to_exitcode(status))


def _become(data_bytes: int, reads: int, command: list[str]) -> NoReturn:
    """Turn this process into the command, with the signals and the input of a fresh one."""
    if data_bytes:
        import resource

        resource.setrlimit(resource.RLIMIT_DATA, (data_bytes, data_bytes))
    source = reads if reads >= 0 else os.open(os.devnull, os.O_RDONLY)
    os.dup2(source, 0)
    os.close(source)
    for name in ("SIGPIPE", "SIGXFSZ"):  # Python ignores these, and a program inherits that
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_DFL)
    os.execvp(command[0], command)  # noqa: S606  # words of the caller, no shell


def _outlive_the_parent(grace_s: float) -> None:
    while os.read(0, 4096):
        pass
    time.sleep(grace_s)
    _kill_the_others()
    os.killpg(0, signal.SIGKILL)


def _kill_the_others() -> None:
    """Kill every process of this session but this one; without /proc, none."""
    here = os.getpid()
    for name in os.listdir("/proc") if os.path.isdir("/proc") else ():  # noqa: PTH112, PTH208  # light
        try:
            if name.isdigit() and int(name) != here and os.getsid(int(name)) == here:
                os.kill(int(name), signal.SIGKILL)
        except OSError:
            continue  # it has ended meanwhile


def _end_as(code: int) -> NoReturn:
    """End with `code`; a negative one is the number of a signal."""
    if code < 0:
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # the command has left its own core file
        if -code not in (signal.SIGKILL, signal.SIGSTOP):
            signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    os._exit(code if code >= 0 else 128 - code)


def _on_windows(command: list[str]) -> NoReturn:
    import subprocess

    with subprocess.Popen(command, stdin=subprocess.DEVNULL) as child:  # noqa: S603  # no shell

        def kill() -> None:
            while os.read(0, 4096):
                pass
            subprocess.run(["taskkill", "/F", "/T", "/PID", str(child.pid)], check=False)  # noqa: S603, S607
            os._exit(1)

        threading.Thread(target=kill, daemon=True).start()
        os._exit(child.wait() & 0xFFFFFFFF)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]), sys.argv[4:])
