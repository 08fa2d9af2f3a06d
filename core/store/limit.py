"""Keeps a store below a limit: at the end of a run the entries go that were unused for longest."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from core.errors import ConfigError, StoreError
from core.plugin.step_names import SAVE
from core.store.emptied import STEPS, empty, is_emptied
from core.store.inventory import ITEMS, Held, entries
from core.store.local import Store
from core.store.removal import Removed, remove, take_away, why_not
from core.store.uses import Records, own_run, recorded
from core.text.screen import say

__all__ = ["at_work", "limit_bytes", "oldest_beyond", "said_of"]

OPTION = "store_limit_gb"
_GB, _MB = 1e9, 1e6


def limit_bytes(gigabytes: float | None) -> float:
    """Return a limit in bytes, infinity for null; raises ConfigError for what is no size."""
    if gigabytes is None:
        return math.inf
    if not gigabytes >= 0:
        raise ConfigError(
            f"`{OPTION}` cannot be {gigabytes}",
            "give a number of GB: 0 keeps only what the last run used, null keeps everything",
        )
    return gigabytes * _GB


@contextmanager
def at_work(
    store: Store, kind: str, recipe: str, gigabytes: float | None, group: str = ""
) -> Iterator[None]:
    """Record what a run uses of the store; at its end, bring the store below the limit.

    What this run and other running jobs used stays, even above the limit. Ctrl-C removes nothing.
    Raises ConfigError for what is no limit.
    """
    limit = limit_bytes(gigabytes)
    with recorded(store.root, kind, recipe, group):
        try:
            yield
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException:
            _keep_below(store, limit)
            raise
        else:
            _keep_below(store, limit)


def oldest_beyond(held: Sequence[Held], used: frozenset[str], limit: float) -> list[Held]:
    """Return what to remove so that the rest is at most `limit` bytes: the longest unused first."""
    above = sum(one.bytes for one in held) - limit
    chosen = []
    for one in sorted(held, key=lambda one: (one.used, one.name)):
        if above <= 0:
            break
        if one.name not in used:
            chosen.append(one)
            above -= one.bytes
    return chosen


def said_of(size: float) -> str:
    """Return a size in words: "1,234 MB"."""
    megabytes = size / _MB
    return f"{megabytes:,.0f} MB" if megabytes >= 10 or not size else f"{megabytes:,.1f} MB"  # noqa: PLR2004  # two digits


def _keep_below(store: Store, limit: float) -> None:
    """Remove what is beyond the limit, and say so in one line; if that fails, the run has not."""
    if math.isinf(limit):
        return
    held, records, done = entries(store.root), Records(store.root), Removed()
    left = sum(one.bytes for one in held)
    if left <= limit:
        return
    words, why = list[str](), "the same command needs them again"
    try:
        remove(store, oldest_beyond(held, records.in_use(), limit), records, done)
        records.forget()
        _empty(store, limit, records)
    except (OSError, StoreError) as error:
        said = error.what if isinstance(error, StoreError) else error.strerror or str(error)
        why = f"it cannot be cleaned: {said}"
    before, left = left - done.bytes, sum(one.bytes for one in entries(store.root))
    if done.gone:
        number = f"{len(done.gone)} result{'s' if len(done.gone) > 1 else ''}"
        words.append(f"removed {number}, the longest unused, {said_of(done.bytes)}")
    if before > left:
        words.append(
            f"removed what this run read and played, {said_of(before - left)}, which the same "
            "command does not need again"
        )
    option = f"{OPTION}={limit / _GB:g}"
    if left <= limit:
        words.append(f"{said_of(left)} stay, below {option}")
    elif done.stayed:
        held_back, reason = done.stayed[0]
        words.append(f"{said_of(left)} stay, above {option}: {held_back.name}: {reason}")
    else:
        words.append(f"{said_of(left)} stay, above {option}: {why}")
    say(f"store: {'; '.join(words)}")


def _empty(store: Store, limit: float, records: Records) -> None:
    """Remove inputs and played outputs that this run alone used, and which no repetition reads.

    Raises OSError.
    """
    own = own_run(store.root)
    if not own or not store.empties:
        return
    used = records.in_use() - records.in_use(but=own)
    order = (ITEMS, *STEPS)
    held = [one for one in entries(store.root) if one.name in used and one.step in order]
    # The same run writes one of them into its folder again: of a choice or a sweep, the last.
    saved = sorted((one for one in held if one.step == SAVE), key=lambda one: one.used)
    held = [one for one in held if one not in saved[-1:]]
    for one in sorted(held, key=lambda one: (order.index(one.step), one.used)):
        # Entries may share files: what is free is known only afterwards.
        if sum(other.bytes for other in entries(store.root)) <= limit:
            break
        if is_emptied(store.root, one.name) or why_not(store, one):
            continue
        if one.step == ITEMS:
            take_away(store.root, one.name, records, but=own)
        else:
            empty(store.root, one.name, records, own)
