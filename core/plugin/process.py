"""Keeps plugins from ending the process with their own exit status and without a result."""

from __future__ import annotations

import functools
import os
import signal
import sys
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any

from core.plugin.boundary import GUARDS
from core.plugin.origin import Left, Origin, Terminated, blamed

__all__ = ["INTERRUPTED", "hold_the_process", "prepare"]

#: The exit status after Ctrl-C, as shells have it.
INTERRUPTED = 130
_held = threading.Event()
#: Set in a process that a plugin forked: it is the plugin's own, and may end as it likes.
_foreign = threading.Event()


def hold_the_process() -> None:
    """Let no plugin end this process by `os._exit`, or put another program in its place.

    Called inside a plugin, these functions raise `Left` instead; elsewhere, and in a process that a
    plugin forks, they work as usual. A C library that ends the process itself cannot be stopped.
    """
    if _held.is_set():
        return
    _held.set()
    for name in ("_exit", "execv", "execve"):
        setattr(os, name, _holding(name, getattr(os, name)))
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=_forked)


def _holding(name: str, real: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(real)
    def leave(*args: Any, **kwargs: Any) -> Any:
        if not _foreign.is_set():
            said = f"os.{name}({', '.join(map(repr, args))})"
            if _inside(_frame_of(threading.current_thread())) is not None:
                raise Left(said)
            origin = _inside(_frame_of(threading.main_thread()))
            if origin is not None and args == (0,):
                # This is a thread of the plugin's: an error raised in it would reach nobody.
                told = blamed(Left(said), origin, "a thread of its own")
                os.write(2, f"error: {told}\n".encode(errors="backslashreplace"))
                real(told.exit_code)
        return real(*args, **kwargs)

    return leave


def _frame_of(thread: threading.Thread) -> FrameType | None:
    # The only way to the frame of another thread; used once, when a process is about to end.
    return sys._current_frames().get(thread.ident or 0)  # noqa: SLF001  # CPython's own interface


def _inside(frame: FrameType | None) -> Origin | None:
    """Return the plugin whose code runs at `frame`, if any."""
    while frame is not None:
        if frame.f_code in GUARDS:
            found: Origin = frame.f_locals["origin"]
            return found
        frame = frame.f_back
    return None


def _forked() -> None:
    if _inside(_frame_of(threading.current_thread())) is not None:
        _foreign.set()


def prepare() -> None:
    """Set up the process before anything heavy is loaded or anything is printed."""
    # Read by GNU OpenMP when torch is loaded. With its default, threads spin for so long at every
    # barrier that two jobs at once on two cores took 4.9 s per window instead of 0.13 s.
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")
    # Hydra prints errors in its own way unless it is told to let them through.
    os.environ["HYDRA_FULL_ERROR"] = "1"
    for stream in (sys.stdout, sys.stderr):
        # A terminal that cannot show a character must not cost a result.
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
    for name in ("SIGTERM", "SIGHUP"):
        # Ended by a scheduler or a closed terminal: clean up as after Ctrl-C.
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), _terminated)
    hold_the_process()


def _terminated(number: int, _: FrameType | None) -> None:
    raise Terminated(128 + number)
