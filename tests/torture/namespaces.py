"""Mounts and processes that only one case sees: Linux's namespaces, for root and other users.

`why_not` says what is missing if there are no namespaces. No function changes the machine.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["mounted", "own_mounts", "own_processes", "resize", "why_not"]

NEWNS, NEWUSER, NEWPID = 0x00020000, 0x10000000, 0x20000000


def why_not() -> str:
    """Return the reason why no namespace can be made here; empty if one can be made."""
    if sys.platform != "linux":
        return "only Linux has them"
    pid = os.fork()
    if not pid:
        code = 1
        try:
            own_mounts()
            code = 0
        except OSError:
            pass
        finally:
            os._exit(code)
    refused = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    return "this user may make no namespaces (unshare)" if refused else ""


def own_mounts() -> None:
    """Give this process its own mounts: a later mount ends with the process."""
    _unshare(NEWNS)
    _run("mount", "--make-rprivate", "/")


def own_processes() -> None:
    """Continue as a child in a new namespace of processes, where numbers begin at 1.

    The original process stays outside, waits, and ends as its child ended.
    """
    _unshare(NEWPID)
    pid = os.fork()
    if pid:
        signal.signal(signal.SIGTERM, lambda *_: os.kill(pid, signal.SIGTERM))
        os._exit(abs(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])))


@contextmanager
def mounted(folder: Path, size: int) -> Iterator[None]:
    """Mount a disk of `size` bytes, in memory, at `folder` while the block runs."""
    _run("mount", "-t", "tmpfs", "-o", f"size={size},mode=777", "tmpfs", str(folder))
    try:
        yield
    finally:
        _run("umount", "--lazy", str(folder))


def resize(folder: Path, size: int) -> None:
    """Change the size of a mounted disk, in bytes."""
    _run("mount", "-o", f"remount,size={size}", str(folder))


def _run(*command: str) -> None:
    """Run a program of the system."""
    said = subprocess.run(command, check=False, capture_output=True, text=True)
    if said.returncode:
        raise OSError(said.returncode, said.stderr.strip() or command[0])


def _unshare(what: int) -> None:
    """Leave a namespace; a user who is not root becomes root in a namespace of users."""
    user, group = os.geteuid(), os.getegid()
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(what | (0 if user == 0 else NEWUSER)):
        raise OSError(ctypes.get_errno(), "unshare")
    if user:
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"0 {user} 1")
        Path("/proc/self/gid_map").write_text(f"0 {group} 1")
