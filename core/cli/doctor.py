"""`mode=doctor`: reports what works on this machine, and how to mend the rest.

Three marks: `ok` works, `--` works once it is set up or installed, `!!` is broken. `--json` gives
the same facts for programs.
"""

from __future__ import annotations

import shutil
import sys
from typing import Any

import msgspec
from rich.console import Console
from rich.text import Text

from core.cli.extras import Extra, extras
from core.errors import LuthierError, PluginError
from core.machine.environment import machine, versions
from core.plugin.entry import Entry
from core.plugin.registry import Registry
from core.store.locate import open_store
from core.text.screen import say, screen
from core.text.shown import shown_below

__all__ = ["examine", "examine_as_json"]

#: The form of the JSON.
SCHEMA = "luthier/doctor/1"
MARKS = {"info": "ok", "warning": "--", "danger": "!!"}
STYLES = {"ok": "green", "--": "yellow", "!!": "red"}


class Finding(msgspec.Struct, frozen=True):
    """One line about a plugin: its mark, and what was found."""

    mark: str
    text: str


class Examined(msgspec.Struct, frozen=True):
    """A plugin; it is `ready`, `to set up`, `not installed` or `broken`."""

    kind: str
    name: str
    state: str
    findings: tuple[Finding, ...]


def examine(registry: Registry, store: str | None = None) -> None:
    """Print the machine, the libraries, the store, every plugin's state and the missing extras.

    Raises PluginError, at the end, where an installed part is broken.
    """
    console = screen()
    console.print(_named("machine  ", machine()), soft_wrap=True)
    console.print(_named("store    ", _store_line(_store(store))), soft_wrap=True)
    console.print(_named("python   ", f"{sys.executable}\n"), soft_wrap=True)
    for name, version in versions().items():
        _print(console, "ok", f"{name} {version}")
    plugins = [_examined(entry) for entry in registry]
    for plugin in plugins:
        for finding in plugin.findings:
            _print(console, finding.mark, f"{plugin.kind} `{plugin.name}`: {finding.text}")
    for one in registry.broken:
        _print(console, "!!", "\n      ".join((one.error().what, *one.error().lines)))
    _show_extras(console, [extra for extra in extras() if extra.missing])
    counted = (
        f"{sum(plugin.state == state for plugin in plugins)} {state}"
        for state in ("ready", "to set up", "not installed", "broken")
        if state == "ready" or any(plugin.state == state for plugin in plugins)
    )
    console.print(f"\nplugins: {', '.join(counted)}")
    _raise_broken(registry)


def examine_as_json(registry: Registry, store: str | None = None) -> None:
    """Print the same as one JSON object; raises PluginError where an installed part is broken."""
    plugins = [_examined(entry) for entry in registry]
    found = {
        "schema": SCHEMA,
        "machine": machine(),
        "python": sys.executable,
        "store": _store(store),
        "libraries": versions(),
        "plugins": [msgspec.to_builtins(plugin) for plugin in plugins],
        "broken": [[one.error().what, *one.error().lines] for one in registry.broken],
        "extras": [
            {"name": one.name, "brings": one.brings, "missing": one.missing, "install": one.install}
            for one in extras()
        ],
    }
    say(msgspec.json.format(msgspec.json.encode(shown_below(found)), indent=1).decode())
    _raise_broken(registry)


def _raise_broken(registry: Registry) -> None:
    if registry.broken:
        raise PluginError(
            f"{len(registry.broken)} installed part(s) cannot be used: see what is broken above"
        )


def _examined(entry: Entry) -> Examined:
    """Return the state of a plugin: ready only if nothing that it finds is a warning."""
    if entry.missing:
        return Examined(entry.kind, entry.name, "not installed", (Finding("--", entry.problem()),))
    problem = entry.problem()
    if problem:
        return Examined(entry.kind, entry.name, "to set up", (Finding("--", problem),))
    found = tuple(Finding(MARKS[one.severity], one.text) for one in entry.findings())
    marks = {one.mark for one in found}
    state = "broken" if "!!" in marks else "to set up" if "--" in marks else "ready"
    return Examined(entry.kind, entry.name, state, found)


def _store(address: str | None) -> dict[str, Any]:
    """Return where the store is and the free bytes there, or why it cannot be opened."""
    try:
        store = open_store(address)
    except LuthierError as error:
        return {"problem": str(error)}
    existing = next(p for p in (store.root, *store.root.parents) if p.exists())
    free = shutil.disk_usage(existing).free
    return {"address": store.address, "folder": str(store.root), "free_bytes": free}


def _store_line(store: dict[str, Any]) -> str:
    if "problem" in store:
        return str(store["problem"])
    free = f"{store['free_bytes'] / 2**30:.0f} GiB free"
    here = store["folder"] == store["address"]
    room = f"({free})" if here else f"(copies in {store['folder']}, {free})"
    return f"{store['address']} {room}"


def _show_extras(console: Console, missing: list[Extra]) -> None:
    for extra in missing:
        said = f"extra `{extra.name}` brings {extra.brings or ', '.join(extra.missing)}"
        lacks = f"lacks {', '.join(extra.missing)}: {extra.install}"
        _print(console, "--", f"{said}; {lacks}")


def _print(console: Console, mark: str, text: str) -> None:
    console.print(Text.assemble((f"  {mark}", STYLES[mark]), f"  {text}"), soft_wrap=True)


def _named(name: str, text: str) -> Text:
    return Text.assemble((name, "bold"), text)
