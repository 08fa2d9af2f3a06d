"""Keeps results of windows, so that a window that comes again is not computed again."""

from __future__ import annotations

import hashlib
import time
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from core import Placement, Session, Tensors

if TYPE_CHECKING:
    from core.plugin.progress import Progress

__all__ = ["Repeats"]


class Repeats(Session):
    """A session whose last `most` results are kept, by the SHA-256 of the inputs.

    A repeated window reports the seconds that its computation took, so that no time of a report or
    a benchmark is that of a copy. The fact `repeated_windows` counts them.
    """

    def __init__(self, session: Session, most: int) -> None:
        self._session, self._most = session, most
        self.device, self.on_target, self.here = session.device, session.on_target, session.here
        self._kept: OrderedDict[bytes, tuple[Tensors, float]] = OrderedDict()
        self._counts = {"repeated_windows": 0}
        self.facts = {**session.facts, **self._counts}

    def run(self, feeds: Tensors) -> Tensors:
        """Return the outputs for a window, computed or kept; the caller may write into them."""
        return self._run(feeds)[0]

    def run_many(self, feeds: Sequence[Tensors], progress: Progress) -> Iterator[Tensors]:
        """Run several windows; `seconds` are those of their computation."""
        taken: list[float] = []
        for index, feed in enumerate(feeds):
            outputs, seconds = self._run(feed)
            taken.append(seconds)
            self.seconds = taken
            yield outputs
            progress(index + 1, len(feeds))

    def placement(self, feeds: Tensors) -> Placement | None:
        """Return what computed each node, from a window that is computed again."""
        return self._session.placement(feeds)

    def close(self) -> None:
        """Forget all results, and close the session."""
        self._kept.clear()
        self._session.close()

    def _run(self, feeds: Tensors) -> tuple[Tensors, float]:
        key = _key(feeds)
        if key in self._kept:
            self._kept.move_to_end(key)
            outputs, seconds = self._kept[key]
            self._counts["repeated_windows"] += 1
            self.facts = {**self._session.facts, **self._counts}
        else:
            started = time.perf_counter()
            outputs = self._session.run(feeds)
            seconds = time.perf_counter() - started
            self._kept[key] = outputs, seconds
            if len(self._kept) > self._most:
                self._kept.popitem(last=False)
        return {name: array.copy() for name, array in outputs.items()}, seconds


def _key(feeds: Tensors) -> bytes:
    digest = hashlib.sha256()
    for name, array in sorted(feeds.items()):
        digest.update(f"{name} {array.dtype} {array.shape} ".encode())
        digest.update(array.tobytes())
    return digest.digest()
