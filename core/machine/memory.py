"""The peak memory of this process and its children."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import psutil

__all__ = ["Peak", "peak_memory"]


@dataclass
class Peak:
    """The highest resident memory seen, in MB, of this process and its children."""

    mb: float = 0.0


@contextmanager
def peak_memory(every_s: float = 0.05) -> Iterator[Peak]:
    """Sample resident memory while the block runs; children count, so a compiler is seen too."""
    peak, done, me = Peak(), threading.Event(), psutil.Process()

    def sample() -> None:
        while True:
            total = 0
            try:
                for process in (me, *me.children(recursive=True)):
                    total += process.memory_info().rss
            except psutil.NoSuchProcess:
                total = 0
            peak.mb = max(peak.mb, total / 1e6)
            if done.wait(every_s):
                return

    thread = threading.Thread(target=sample, name="peak-memory", daemon=True)
    thread.start()
    try:
        yield peak
    finally:
        done.set()
        thread.join()
