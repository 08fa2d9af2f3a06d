"""Stands between a process and its child: runs a command, and kills it when the process is gone.

Run as a script by core/child_process.py, with nothing of ours and no package loaded:
`python -I -S child_guard.py <bytes of data, or 0> <command> ...`. Its standard input is a pipe that
only the process holds the other end of. However the process ends, SIGKILL included, the system
closes that end, and the guard kills its whole session: the command and what that has started.

A guard and no thread of the child, because a library that holds Python's lock stops all threads.
And no death signal of Linux alone: that one comes when the starting *thread* ends, it reaches no
grandchild, and other systems have none. Here it only covers the death of the guard itself.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from typing import NoReturn

__all__ = ["main"]

_PR_SET_PDEATHSIG = 1
_NOT_STARTED = 127


def main(data_bytes: int, command: list[str]) -> NoReturn:
    """Run `command` and end as it does: with its exit status, or by the signal that ended it."""
    if not hasattr(os, "fork"):
        _on_windows(command)
    import ctypes

    library = ctypes.CDLL(None) if sys.platform == "linux" else None
    guard = os.getpid()
    child = os.fork()  # this process has one thread
    if not child:
        try:
            if library is not None:
                library.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
                if os.getppid() != guard:
                    os._exit(_NOT_STARTED)
            _become(data_bytes, command)
        except BaseException as error:
            os.write(2, f"`{command[0]}` cannot be started: {error}\n".encode(errors="replace"))
        os._exit(_NOT_STARTED)
    threading.Thread(target=_wait_for_the_end_of_the_parent, daemon=True).start()
    _, status = os.waitpid(child, 0)
    _end_as(os.waitstatus_to_exitcode(status))


def _become(data_bytes: int, command: list[str]) -> NoReturn:
    """Turn this process into the command, with the signals and the input of a fresh one."""
    if data_bytes:
        import resource

        resource.setrlimit(resource.RLIMIT_DATA, (data_bytes, data_bytes))
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    for name in ("SIGPIPE", "SIGXFSZ"):  # Python ignores these, and a program inherits that
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_DFL)
    os.execvp(command[0], command)  # noqa: S606  # words of the caller, no shell


def _wait_for_the_end_of_the_parent() -> None:
    while os.read(0, 4096):
        pass
    here = os.getpid()
    for name in os.listdir("/proc") if os.path.isdir("/proc") else ():  # noqa: PTH112, PTH208  # light
        try:
            if name.isdigit() and int(name) != here and os.getsid(int(name)) == here:
                os.kill(int(name), signal.SIGKILL)
        except OSError:
            continue  # it has ended meanwhile
    os.killpg(0, signal.SIGKILL)


def _end_as(code: int) -> NoReturn:
    """End with `code`; a negative one is the number of a signal."""
    if code < 0:
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # the command has left its own
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
    main(int(sys.argv[1]), sys.argv[2:])
