"""`mode=list`: every recipe, target, precision and plugin, with what a missing one needs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from omegaconf import DictConfig, OmegaConf
from rich.console import Console
from rich.table import Table

from core.kinds import KINDS
from core.recipes import Recipe
from core.registry import Entry, Registry

__all__ = ["presets", "show"]


def presets(registry: Registry, conf: Path, group: str) -> dict[str, str]:
    """Return name and title of every preset of a group, from the box and from plugins."""
    found: dict[str, str] = {}
    for folder in (conf, *registry.presets):
        for file in sorted((folder / group).glob("*.yaml")):
            node = OmegaConf.load(file)
            found[file.stem] = str(node.get("title", "")) if isinstance(node, DictConfig) else ""
    return found


def show(registry: Registry, recipes: Mapping[str, Recipe], conf: Path) -> None:
    """Print everything that a recipe can name."""
    console = Console()
    _table(console, "recipes", {name: recipe.title for name, recipe in recipes.items()})
    for group in ("target", "precision"):
        _table(console, f"{group}s", presets(registry, conf, group))
    for kind in KINDS:
        entries = registry.entries[kind]
        rows = {name: _line(entries[name]) for name in registry.names(kind)}
        rows |= {name: title or "preset" for name, title in presets(registry, conf, kind).items()}
        _table(console, kind, rows)


def _table(console: Console, title: str, rows: Mapping[str, str]) -> None:
    console.print(f"\n[bold]{title}[/bold]")
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 2))
    table.add_column(style="cyan", no_wrap=True)
    table.add_column()
    for name, text in rows.items():
        table.add_row(name, text)
    if rows:
        console.print(table)
    else:
        console.print("  none")


def _line(entry: Entry) -> str:
    origin = "" if entry.distribution == "luthier" else f" [dim]({entry.distribution})[/dim]"
    missing = "".join(f"\n[yellow]not installed: {lib.install}[/yellow]" for lib in entry.missing)
    return f"{entry.summary}{origin}{missing}"
