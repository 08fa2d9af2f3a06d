"""Checks whether processes have ended, for tests that kill processes."""

from __future__ import annotations

import time
from pathlib import Path

import psutil

__all__ = ["gone", "written"]


def gone(pid: int, seconds: float = 2.0) -> bool:
    """Return whether a process ends within `seconds`; a zombie counts as ended."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            if psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
                return True
        except psutil.NoSuchProcess:
            return True
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)


def written(file: Path, seconds: float = 20.0) -> int:
    """Return the process number that some process writes to `file` in a line in `seconds`."""
    deadline = time.monotonic() + seconds
    while not (file.exists() and file.read_text().endswith("\n")):
        assert time.monotonic() < deadline, f"{file} was never written"
        time.sleep(0.02)
    return int(file.read_text())
