"""A guard over processes that a test starts: it records address look-ups and connections."""

from __future__ import annotations

from pathlib import Path

__all__ = ["heard", "write_guard"]

#: Python runs it first, along PYTHONPATH. Children in isolated mode (`python -I`) do not run it.
GUARD = '''
import atexit, sys

def heard(event, given):
    if event in ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto"):
        with open({log!r}, "a") as log:
            print(event, *map(repr, given), file=log)

def left():
    """What libraries that are no Python hold open."""
    import psutil
    for held in psutil.Process().net_connections(kind="inet"):
        heard("socket.connect", held)

sys.addaudithook(heard)
atexit.register(left)
'''


def write_guard(folder: Path) -> None:
    """Write the guard to `folder`, which must come first in PYTHONPATH."""
    guard = GUARD.format(log=str(folder / "heard"))
    (folder / "sitecustomize.py").write_text(guard, encoding="utf-8")


def heard(folder: Path) -> list[str]:
    """Return the records of the processes that were guarded from `folder`, one line each."""
    log = folder / "heard"
    return log.read_text(encoding="utf-8").splitlines() if log.exists() else []
