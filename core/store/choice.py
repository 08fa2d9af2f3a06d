"""Chooses the entries of a store that a person wants to remove."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from core.store.inventory import Held
from core.store.uses import Record

__all__ = ["chosen", "in_run_folders", "of_last_runs"]

DAY_S, MB = 86_400.0, 1e6


def chosen(
    held: Sequence[Held],
    records: Sequence[Record],
    now: float,
    *,
    older_than_days: float | None = None,
    larger_than_mb: float | None = None,
    keep_last: int | None = None,
    unused: bool = False,
) -> list[Held]:
    """Return the entries for which all conditions that are given hold.

    `records` are those of the store, the newest first; `now` is in seconds since 1970.
    """
    kept: set[str] = set()
    if keep_last is not None:
        kept |= of_last_runs(records, keep_last)
    if unused:
        kept |= in_run_folders(records)
    return [
        one
        for one in held
        if one.name not in kept
        and (older_than_days is None or max(0.0, now - one.used) >= older_than_days * DAY_S)
        and (larger_than_mb is None or one.bytes > larger_than_mb * MB)
    ]


def of_last_runs(records: Sequence[Record], count: int) -> set[str]:
    """Return what the last `count` runs used; a sweep with its points is one run."""
    last = list(dict.fromkeys(record.run for record in records))[:count]
    return {name for record in records if record.run in last for name in record.entries}


def in_run_folders(records: Sequence[Record]) -> set[str]:
    """Return what runs used whose run folder is still there."""
    there = {one.run for one in records if one.folder and Path(one.folder).is_dir()}
    return {name for one in records if one.run in there for name in one.entries}
