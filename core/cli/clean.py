"""`mode=clean`: shows which results would go from the store, and removes them once confirmed."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import cast

from omegaconf import DictConfig
from rich.table import Table

from core.cli.ages import ago
from core.config.arguments import command, key_of
from core.config.compose import words_of_job
from core.config.recipes import Recipe
from core.config.settings import Clean, checked
from core.errors import ConfigError
from core.machine.folders import unwritable
from core.machine.program import line
from core.store.choice import chosen
from core.store.inventory import Held, entries
from core.store.limit import said_of
from core.store.local import Store
from core.store.locate import open_store
from core.store.removal import Removed, remove, why_not
from core.store.uses import Records
from core.text.screen import screen

__all__ = ["clean"]

#: How many results that stay are named.
NAMED = 5


def clean(cfg: DictConfig, recipes: Mapping[str, Recipe]) -> None:
    """Show the results that the conditions choose; remove them with `clean.confirm=true`.

    Raises ConfigError without a condition, and StoreError where the store cannot be locked.
    """
    wanted = cast("Clean", checked(cfg, "clean"))
    numbers = (wanted.older_than_days, wanted.larger_than_mb, wanted.keep_last)
    if not wanted.unused and all(number is None for number in numbers):
        raise ConfigError(
            "`mode=clean` needs to know which results to remove",
            "results of runs whose run folder is gone: clean.unused=true",
            "results that no run used for 30 days: clean.older_than_days=30",
            "all but those of the last 3 runs: clean.keep_last=3",
            "results of more than 100 MB: clean.larger_than_mb=100",
            "all of them: clean.older_than_days=0",
            "several conditions must all hold; nothing is removed before clean.confirm=true",
            f"what takes how much: {line(['mode=usage'])}",
        )
    store = open_store(cfg.store)
    held, records = entries(store.root), Records(store.root)
    found = chosen(
        held,
        records.all(),
        time.time(),
        older_than_days=wanted.older_than_days,
        larger_than_mb=wanted.larger_than_mb,
        keep_last=wanted.keep_last,
        unused=wanted.unused,
    )
    _show_store(store, held)
    if wanted.confirm:
        _removed(store, found, records)
    else:
        asked = [word for word in words_of_job() if key_of(word) != "clean.confirm"]
        given = [*asked, "clean.confirm=true"]
        _shown(store, found, records, command(given, recipes))


def _show_store(store: Store, held: Sequence[Held]) -> None:
    where = str(store.root)
    if where != store.address:
        where += f" (this machine's copies of {store.address}; nothing at the URL is removed)"
    size = said_of(sum(one.bytes for one in held))
    screen().print(f"store  {where}\n       {size} in {_results(len(held))}\n", soft_wrap=True)


def _shown(store: Store, found: Sequence[Held], records: Records, again: str) -> None:
    """Print what would go and what would stay, and the command that removes it."""
    console, in_use = screen(), records.in_use()
    would, stays = list[Held](), list[tuple[Held, str]]()
    for one in found:
        reason = "a running job uses it" if one.name in in_use else why_not(store, one)
        if reason:
            stays.append((one, reason))
        else:
            would.append(one)
    if would:
        console.print(_table(would))
    _show_staying(stays)
    size = said_of(sum(one.bytes for one in would))
    console.print(f"\n{_results(len(would))} would go, {size}; nothing was removed")
    if would:
        console.print(f"to remove them: {again}", soft_wrap=True)


def _removed(store: Store, found: Sequence[Held], records: Records) -> None:
    """Remove results, and say at the end, Ctrl-C included, what went."""
    done = Removed()
    try:
        if found:
            remove(store, found, records, done)
            records.forget()
    except OSError as error:
        raise unwritable("the store", error, store.root, "store=/path/to/folder") from error
    finally:
        if done.gone:
            screen().print(_table(done.gone))
        _show_staying(done.stayed)
        screen().print(f"\nremoved {_results(len(done.gone))}, {said_of(done.bytes)}")


def _show_staying(stayed: Sequence[tuple[Held, str]]) -> None:
    """Print which of the chosen results stay, and why."""
    console = screen()
    for one, reason in stayed[:NAMED]:
        console.print(f"stays: {one.name}, {said_of(one.bytes)}: {reason}", soft_wrap=True)
    if len(stayed) > NAMED:
        size = said_of(sum(one.bytes for one, _ in stayed[NAMED:]))
        console.print(f"and {_results(len(stayed) - NAMED)} more stay, {size}")


def _table(found: Sequence[Held]) -> Table:
    """Return results by step, the largest first."""
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column("step", overflow="fold")
    for heading in ("results", "MB", "last used"):
        table.add_column(heading, justify="right", no_wrap=True)
    of: dict[str, list[Held]] = {}
    for one in found:
        of.setdefault(one.step, []).append(one)
    for step, some in sorted(of.items(), key=lambda pair: -sum(one.bytes for one in pair[1])):
        size = f"{sum(one.bytes for one in some) / 1e6:,.1f}"
        table.add_row(step, str(len(some)), size, ago(max(one.used for one in some)))
    return table


def _results(count: int) -> str:
    return "1 result" if count == 1 else f"{count:,} results"
