"""`mode=usage`: what takes how much of the disk, how old it is, and which run folders use it."""

from __future__ import annotations

import math
import os
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from omegaconf import DictConfig
from rich.console import Console
from rich.table import Table
from rich.text import Text

from core.cli.ages import ago
from core.machine.program import line
from core.store.inventory import ITEMS, Held, entries, size
from core.store.limit import OPTION, limit_bytes, said_of
from core.store.local import Store
from core.store.locate import open_store
from core.store.uses import RUNS, Record, Records
from core.text.screen import screen

__all__ = ["show_usage"]

#: How many of the largest results are listed.
LARGEST = 10
#: Columns from which on whole names fit, and characters of a key that are shown on fewer.
WIDE, SHORT = 120, 10
#: A folder below `output=` that holds one of these was left by Luthier.
MARKS = ("recipe.lock.yaml", "report.json", "sweep.json", "fit.json", "manifest.jsonl", "points")
#: The folders of the store that hold no results, and what is in them.
OTHERS = {
    "known": "notes about the store at the URL",
    "locks": "locks of results",
    "remotes": "copies of stores at URLs",
    RUNS: "which run used what",
    "staging": "unfinished results",
}


@dataclass(frozen=True)
class _RunFolder:
    recipe: str
    bytes: int
    when: float


def show_usage(cfg: DictConfig) -> None:
    """Print the totals, then the results by step and recipe, and all else; changes nothing."""
    limit = limit_bytes(cfg.store_limit_gb)
    store, output = open_store(cfg.store), Path(cfg.output).expanduser().resolve()
    held, records = entries(store.root), Records(store.root).all()
    places = _run_folders(output)
    console = screen()
    _totals(console, store, held, limit, output, places)
    used_by = _run_folders_of(records)
    if held:
        _by_step(console, held, used_by)
        _by_recipe(console, held, records)
        _largest(console, held, records, output)
    _others(console, store.root)
    if places:
        _by_folder(console, places)
    console.print(f"\nto remove results: {line(['mode=clean'])}", soft_wrap=True)


def _totals(
    console: Console,
    store: Store,
    held: Sequence[Held],
    limit: float,
    output: Path,
    places: Sequence[_RunFolder],
) -> None:
    total = sum(one.bytes for one in held)
    bound = f"{OPTION}={limit / 1e9:g}" if math.isfinite(limit) else "no limit"
    console.print(Text.assemble(("store    ", "bold"), str(store.root)), soft_wrap=True)
    if str(store.root) != store.address:
        said = f"this machine's copies of {store.address}; what lies at the URL is not counted"
        console.print(f"         {said}", soft_wrap=True)
        if store.address.startswith("s3://"):
            asked = f"aws s3 ls --recursive --summarize --human-readable {store.address}/"
            console.print(f"         it is counted by: {asked}", soft_wrap=True)
    console.print(f"         {said_of(total)} in {_counted(len(held), 'result')}, {bound}")
    if store.root.exists():
        console.print(f"         {said_of(shutil.disk_usage(store.root).free)} free on its disk")
    console.print(Text.assemble(("outputs  ", "bold"), str(output)), soft_wrap=True)
    size_of = said_of(sum(one.bytes for one in places))
    console.print(f"         {size_of} in {_counted(len(places), 'run folder')}")


def _by_step(console: Console, held: Sequence[Held], used_by: Mapping[str, set[str]]) -> None:
    of: dict[str, list[Held]] = {}
    for one in held:
        of.setdefault(one.step, []).append(one)
    table = _table("step", ("results", "MB", "last used", "run folders"))
    for step, some in _largest_first(of):
        folders = set[str]().union(*(used_by.get(one.name, set()) for one in some))
        name = "inputs, decoded" if step == ITEMS else step
        table.add_row(name, f"{len(some):,}", _mb(some), _last(some), f"{len(folders):,}")
    _print(console, "results by step", table)


def _by_recipe(console: Console, held: Sequence[Held], records: Sequence[Record]) -> None:
    known = {one.name: one for one in held}
    of: dict[str, set[str]] = {}
    runs: dict[str, set[str]] = {}
    for record in records:
        if record.kind != "point" or record.recipe:
            of.setdefault(record.recipe or "?", set()).update(record.entries & known.keys())
            runs.setdefault(record.recipe or "?", set()).add(record.run)
    nobody = known.keys() - set[str]().union(*of.values())
    table = _table("recipe", ("runs", "results", "MB", "last used"))
    for recipe, some in _largest_first({k: [known[n] for n in v] for k, v in of.items() if v}):
        table.add_row(recipe, f"{len(runs[recipe]):,}", f"{len(some):,}", _mb(some), _last(some))
    if nobody:
        some = [known[name] for name in nobody]
        table.add_row("not recorded", "-", f"{len(some):,}", _mb(some), _last(some))
    _print(console, "results by recipe (one that several use counts for each)", table)


def _largest(
    console: Console, held: Sequence[Held], records: Sequence[Record], output: Path
) -> None:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column("result", overflow="fold")
    table.add_column("MB", justify="right", no_wrap=True)
    table.add_column("last used", justify="right", no_wrap=True)
    table.add_column("used by", overflow="fold")
    for one in sorted(held, key=lambda held: -held.bytes)[:LARGEST]:
        using = [record for record in records if one.name in record.entries]
        said = list(dict.fromkeys(_said(record, output) for record in using))
        if any(record.live for record in using):
            said.insert(0, "a running job")
        more = f" and {len(said) - 1} more" if len(said) > 1 else ""
        by = f"{said[0]}{more}" if said else "no run that is recorded"
        step, _, key = one.name.rpartition("/")
        name = one.name if console.width >= WIDE else f"{step}/{key[:SHORT]}…"
        table.add_row(name, _mb([one]), ago(one.used), by)
    _print(console, "largest results", table)


def _said(record: Record, output: Path) -> str:
    """Return a run in words: its run folder, as seen from `output`, or that it is gone."""
    if record.folder:
        folder = Path(record.folder)
        name = folder.relative_to(output) if folder.is_relative_to(output) else folder
        return f"{name}{'' if folder.is_dir() else ' (gone)'}"
    return f"{record.recipe or 'a run'}, which left no run folder"


def _others(console: Console, root: Path) -> None:
    """Print the folders of the store that hold no results."""
    table = _table("other folders of the store", ("MB",))
    table.add_column("content", overflow="fold")
    for name, content in OTHERS.items():
        if (root / name).is_dir():
            table.add_row(name, f"{size(root / name) / 1e6:,.1f}", content)
    for folder in _folders(root / "state"):
        if folder.name != "items":
            content = f"notes and compile cache of `{folder.name}`"
            table.add_row(f"state/{folder.name}", f"{size(folder) / 1e6:,.1f}", content)
    if table.row_count:
        console.print()
        console.print(table)


def _by_folder(console: Console, places: Sequence[_RunFolder]) -> None:
    of: dict[str, list[_RunFolder]] = {}
    for one in places:
        of.setdefault(one.recipe, []).append(one)
    table = _table("recipe", ("run folders", "MB", "newest"))
    for recipe, some in sorted(of.items(), key=lambda pair: -sum(one.bytes for one in pair[1])):
        size_of = f"{sum(one.bytes for one in some) / 1e6:,.1f}"
        table.add_row(recipe, f"{len(some):,}", size_of, ago(max(one.when for one in some)))
    _print(console, "run folders (mode=clean leaves them alone)", table)


def _run_folders(output: Path) -> list[_RunFolder]:
    """Return the run folders at `output`: <recipe>/<run>; no link is followed."""
    return [
        _RunFolder(recipe.name, size(run), run.lstat().st_mtime)
        for recipe in _folders(output)
        for run in _folders(recipe)
        if any(os.path.lexists(run / mark) for mark in MARKS)
    ]


def _folders(parent: Path) -> list[Path]:
    """Return the folders in a folder, sorted; none where it cannot be read."""
    try:
        with os.scandir(parent) as inside:
            found = [Path(one.path) for one in inside if one.is_dir(follow_symlinks=False)]
    except OSError:
        return []
    return sorted(found)


def _run_folders_of(records: Iterable[Record]) -> dict[str, set[str]]:
    """Return the run folders that are still there, by the results that they use."""
    found: dict[str, set[str]] = {}
    by_run: dict[str, set[str]] = {}
    listed = list(records)
    for record in listed:
        if record.folder and Path(record.folder).is_dir():
            by_run.setdefault(record.run, set()).add(record.folder)
    for record in listed:
        own = {record.folder} & by_run.get(record.run, set()) or by_run.get(record.run, set())
        for name in record.entries:
            found.setdefault(name, set()).update(own)
    return found


def _table(first: str, numbers: Sequence[str]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column(first, overflow="fold")
    for heading in numbers:
        table.add_column(heading, justify="right", no_wrap=True)
    return table


def _print(console: Console, title: str, table: Table) -> None:
    console.print(f"\n{title}", style="bold")
    console.print(table)


def _largest_first(of: Mapping[str, Sequence[Held]]) -> list[tuple[str, Sequence[Held]]]:
    return sorted(of.items(), key=lambda pair: -sum(one.bytes for one in pair[1]))


def _mb(some: Sequence[Held]) -> str:
    return f"{sum(one.bytes for one in some) / 1e6:,.1f}"


def _last(some: Sequence[Held]) -> str:
    return ago(max(one.used for one in some))


def _counted(count: int, thing: str) -> str:
    return f"1 {thing}" if count == 1 else f"{count:,} {thing}s"
