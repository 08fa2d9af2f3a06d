"""`mode=list`: every recipe, target, precision and plugin, and the libraries that are missing."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from core.config.presets import read_presets
from core.config.recipes import Recipe
from core.plugin.entry import Entry
from core.plugin.kinds import KINDS
from core.plugin.registry import Registry
from core.text.screen import screen

__all__ = ["presets", "show"]


def presets(registry: Registry, conf: Path, group: str) -> dict[str, str]:
    """Return name and title of every preset of a group, from the box and from plugins."""
    found = read_presets([conf, *registry.presets])
    return {preset.name: preset.title for preset in found if preset.group == group}


def show(registry: Registry, recipes: Mapping[str, Recipe], conf: Path) -> None:
    """Print everything that a recipe can name."""
    console = screen()
    _table(console, "recipes", {name: recipe.title for name, recipe in recipes.items()})
    for group in ("target", "precision"):
        _table(console, f"{group}s", presets(registry, conf, group))
    for kind in KINDS:
        entries = registry.entries[kind]
        rows: dict[str, str | Text] = {name: _line(entries[name]) for name in registry.names(kind)}
        rows |= {name: title or "preset" for name, title in presets(registry, conf, kind).items()}
        _table(console, kind, rows)
    if registry.broken:
        console.print("\nbroken", style="bold red")
        for one in registry.broken:
            error = one.error()
            console.print("\n    ".join((f"  {error.what}", *error.lines)), soft_wrap=True)


def _table(console: Console, title: str, rows: Mapping[str, str | Text]) -> None:
    console.print(f"\n{title}", style="bold")
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 2))
    table.add_column(style="cyan", no_wrap=True)
    table.add_column()
    for name, text in rows.items():
        table.add_row(name, text)
    if rows:
        console.print(table)
    else:
        console.print("  none")


def _line(entry: Entry) -> Text:
    origin = "" if entry.distribution == "luthier" else f" ({entry.distribution})"
    missing = ((f"\nnot installed: {lib.install}", "yellow") for lib in entry.missing)
    return Text.assemble(entry.summary, (origin, "dim"), *missing)
