"""Keeps a store below a limit: at the end of a run the entries go that were unused for longest."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from core.errors import ConfigError
from core.store.inventory import Held, entries
from core.store.local import Store
from core.store.removal import Removed, remove
from core.store.uses import Records, recorded
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
    with contextlib.suppress(OSError):
        held, records, done = entries(store.root), Records(store.root), Removed()
        total = sum(one.bytes for one in held)
        if total <= limit:
            return
        remove(store, oldest_beyond(held, records.in_use(), limit), records, done)
        records.forget()
        left = total - done.bytes
        option = f"{OPTION}={limit / _GB:g}"
        words = []
        if done.gone:
            number = f"{len(done.gone)} result{'s' if len(done.gone) > 1 else ''}"
            words.append(f"removed {number}, the longest unused, {said_of(done.bytes)}")
        if left <= limit:
            words.append(f"{said_of(left)} stay, below {option}")
        elif done.stayed:
            held_back, reason = done.stayed[0]
            words.append(f"{said_of(left)} stay, above {option}: {held_back.name}: {reason}")
        else:
            words.append(
                f"{said_of(left)} stay, above {option}: running the same command again needs them"
            )
        say(f"store: {'; '.join(words)}")
