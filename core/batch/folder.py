"""The folder of a batch: held by one run, and nothing in it that leads elsewhere.

A run writes, replaces and removes below this folder, which may have been copied from anybody. A
link in place of `items`, say, would have it do so wherever that leads.
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

#: In the batch's folder: items in flight, its lines, and the recipe that it was made by.
STAGING, MANIFEST, LOCK_FILE = ".staging", "manifest.jsonl", "recipe.lock.yaml"
HELD = ".lock"


def check_own(place: Path) -> None:
    """Raise UnsafePathError where a batch's folder, or a part of it, is a link."""
    parts = (place / name for name in (ITEMS, STAGING, MANIFEST, LOCK_FILE, HELD))
    check_no_links((place, *parts), "the batch's folder")


@contextmanager
def held_alone(place: Path) -> Iterator[None]:
    """Hold a batch's folder for this run alone; what earlier ones left in flight is removed."""
    busy = (
        "another run is playing this batch",
        f"at: {place}",
        "wait for it: what it finishes is not played again",
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
