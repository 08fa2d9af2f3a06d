"""The state of each item of a batch: done, left to play, or damaged.

An item is done when its line in the manifest says so, its file has the hash that was played, and
every output file has the hash that it was written with. Comparing times and sizes would be cheaper,
but misses flipped bits and cut copies. Hashing the outputs of an item takes less than a hundredth
of the time that playing it took.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from core.batch.manifest import Entry, Manifest
from core.batch.output_paths import OutputPaths
from core.errors import UnsafePathError
from core.machine.paths import below
from core.plugin.listable import Source
from core.store.hashing import file_digest

__all__ = ["Standing", "State", "standings", "state_of"]

#: done: nothing is left to do; left: it is new, changed or failed; damaged: it was played, but its
#: output files are changed, missing, or in the place of another item.
State = Literal["done", "left", "damaged"]
#: The most files that are read at a time: a disk serves no more at once.
READERS = 8


@dataclass(frozen=True)
class Standing:
    """An item, its place below `items/`, and its state."""

    source: Source
    place: str
    state: State


def standings(sources: Iterable[Source], manifest: Manifest) -> Iterator[Standing]:
    """Yield the standing of every item, in order; files are hashed side by side."""
    places = OutputPaths(manifest.entries.values())
    listed = list(sources)
    folder = manifest.file.parent

    def look(source: Source) -> State:
        return state_of(manifest.entries.get(source.name), source.file, folder)

    pool = ThreadPoolExecutor(min(READERS, os.cpu_count() or 1), thread_name_prefix="hash")
    try:
        for source, state in zip(listed, pool.map(look, listed), strict=True):
            place, entry = places.of(source.name), manifest.entries.get(source.name)
            elsewhere = state == "done" and entry is not None and entry.place != place
            yield Standing(source, place, "damaged" if elsewhere else state)
    finally:
        # A caller that stops early must not wait for the rest.
        pool.shutdown(cancel_futures=True)


def state_of(entry: Entry | None, file: Path, folder: Path) -> State:
    """Return the state of the item `file`, whose line is `entry`, in the batch at `folder`."""
    if entry is None or entry.status != "done":
        return "left"
    try:
        if file_digest(file) != entry.sha256:
            return "left"
    except OSError:
        return "left"
    try:
        for output, sha256 in entry.outputs.items():
            if file_digest(below(folder, output, "the manifest", links=False)) != sha256:
                return "damaged"
    except (OSError, UnsafePathError):
        return "damaged"
    return "done"
