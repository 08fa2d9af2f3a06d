"""`mode=doctor`: reports what works on this machine, and how to mend the rest."""

from __future__ import annotations

import shutil
import sys

from rich.console import Console
from rich.text import Text

from core.errors import LuthierError, PluginError
from core.machine.environment import machine, versions
from core.plugin.entry import Entry
from core.plugin.registry import Registry
from core.store.locate import open_store
from core.text.screen import screen

__all__ = ["examine"]


def examine(registry: Registry) -> None:
    """Print the machine, the libraries, the store, and every plugin that cannot run here.

    Raises PluginError, at the end, where one is broken.
    """
    console = screen()
    console.print(_named("machine  ", machine()))
    _show_store(console)
    console.print(_named("python   ", f"{sys.executable}\n"), soft_wrap=True)
    for name, version in versions().items():
        console.print(Text.assemble(("  ok", "green"), f"  {name} {version}"))
    ready = broken = 0
    for entry in registry:
        problem = entry.problem()
        if problem:
            broken += 1
            said = f"  {entry.kind} `{entry.name}`: {problem}"
            console.print(Text.assemble(("  --", "yellow"), said))
        else:
            ready += 1
            _show_findings(console, entry)
    for one in registry.broken:
        said = "\n      ".join((f"  {one.error().what}", *one.error().lines))
        console.print(Text.assemble(("  !!", "red"), said), soft_wrap=True)
    console.print(f"\n{ready} plugins ready, {broken} not")
    if registry.broken:
        raise PluginError(
            f"{len(registry.broken)} installed part(s) cannot be used: see the lines marked !!"
        )


def _show_store(console: Console) -> None:
    """Print where the store is and the free space there, or why it cannot be opened."""
    try:
        store = open_store(None)
    except LuthierError as error:
        console.print(_named("store    ", str(error)), soft_wrap=True)
        return
    existing = next(p for p in (store.root, *store.root.parents) if p.exists())
    free = f"{shutil.disk_usage(existing).free / 2**30:.0f} GiB free"
    here = str(store.root) == store.address
    room = f"({free})" if here else f"(copies in {store.root}, {free})"
    console.print(_named("store    ", f"{store.address} {room}"), soft_wrap=True)


def _show_findings(console: Console, entry: Entry) -> None:
    """Print what a plugin finds on this machine."""
    for notice in entry.findings():
        style = {"info": "green", "warning": "yellow", "danger": "red"}[notice.severity]
        mark = {"info": "ok", "warning": "--", "danger": "!!"}[notice.severity]
        said = f"  {entry.kind} `{entry.name}`: {notice.text}"
        console.print(Text.assemble((f"  {mark}", style), said), soft_wrap=True)


def _named(name: str, text: str) -> Text:
    return Text.assemble((name, "bold"), text)
