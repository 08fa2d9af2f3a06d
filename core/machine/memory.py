"""The peak memory of this process and its children."""

from __future__ import annotations

import contextlib
import itertools
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


#: Samples between two searches for new children. A search reads the state of every process of the
#: machine; at each sample it would take a tenth of a core from the step that is measured.
SEARCH = 10


@contextmanager
def peak_memory(every_s: float = 0.05) -> Iterator[Peak]:
    """Sample resident memory while the block runs; children count, so a compiler is seen too."""
    peak, done, me = Peak(), threading.Event(), psutil.Process()

    def sample() -> None:
        children: list[psutil.Process] = []
        for number in itertools.count():
            if number % SEARCH == 0:
                with contextlib.suppress(psutil.Error):
                    children = me.children(recursive=True)
            total = 0
            for process in (me, *children):
                with contextlib.suppress(psutil.NoSuchProcess):
                    total += process.memory_info().rss
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
