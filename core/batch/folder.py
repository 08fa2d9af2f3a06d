"""The folder of a batch: one run locks it, and no part of it may be a link.

A run writes, replaces and removes files below this folder, which may come from anybody. If `items`
were a link, for example, the run would change files wherever the link leads.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from core.batch.manifest import ITEMS
from core.machine.folders import locked, unwritable
from core.machine.paths import check_no_links

__all__ = ["LOCK_FILE", "MANIFEST", "STAGING", "check_own", "held_alone"]

#: In the batch's folder: items in flight, the manifest, and the recipe with every option.
STAGING, MANIFEST, LOCK_FILE = ".staging", "manifest.jsonl", "recipe.lock.yaml"
HELD = ".lock"


def check_own(place: Path) -> None:
    """Raise UnsafePathError where a batch's folder, or a part of it, is a link."""
    parts = (place / name for name in (ITEMS, STAGING, MANIFEST, LOCK_FILE, HELD))
    check_no_links((place, *parts), "the batch's folder")


@contextmanager
def held_alone(place: Path) -> Iterator[None]:
    """Lock a batch's folder for this run; remove the unfinished items of earlier runs."""
    busy = (
        "another run is playing this batch",
        f"at: {place}",
        "wait for it: items that it finishes are not played again",
        "or play into another folder: output=/path/to/folder",
    )
    staging = place / STAGING
    check_own(place)
    with locked(place / HELD, "the batch's folder", *busy):
        shutil.rmtree(staging, ignore_errors=True)
        try:
            (place / ITEMS).mkdir(exist_ok=True)
            staging.mkdir(exist_ok=True)
        except OSError as error:
            raise unwritable("the batch's folder", error, place) from error
        try:
            yield
        finally:
            shutil.rmtree(staging, ignore_errors=True)
