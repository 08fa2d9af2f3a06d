"""The drawing of `docs/architecture.md`: the rooms of the core, from the contract that holds them.

The floors are those of import-linter's contract in `pyproject.toml`. The rooms that a room uses are
read from its imports: a drawing by hand would be wrong after the next change.
"""

from __future__ import annotations

import ast
import tomllib
from collections.abc import Callable
from pathlib import Path

__all__ = ["drawing"]

ROOT = Path(__file__).parent.parent
Table = Callable[[tuple[str, ...], list[tuple[str, ...]]], str]


def drawing(table: Table) -> str:
    """Return the floors from the roof to the ground, then each room with the rooms it uses."""
    floors = [[room.strip() for room in floor.split("|")] for floor in _floors()]
    width = max(len(" | ".join(floor)) for floor in floors) + 2
    edge = f"+{'-' * width}+"
    drawn = [edge]
    for floor in floors:
        drawn += [f"|{' | '.join(floor):^{width}}|", edge]
    rows = [
        (f"`{room}`", _purpose(room), ", ".join(f"`{used}`" for used in _used(room, floors)))
        for floor in floors
        for room in floor
        if room != "__main__"
    ]
    return "\n".join(["```text", *drawn, "```", "", table(("room", "what", "uses"), rows)])


def _floors() -> list[str]:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    contracts = settings["tool"]["importlinter"]["contracts"]
    floors: list[str] = next(c["layers"] for c in contracts if c["type"] == "layers")
    return floors


def _files(room: str) -> list[Path]:
    place = ROOT / "core" / room
    return sorted(place.rglob("*.py")) if place.is_dir() else [place.with_suffix(".py")]


def _purpose(room: str) -> str:
    first = next(f for f in _files(room) if f.name in ("__init__.py", f"{room}.py"))
    said = ast.get_docstring(ast.parse(first.read_text(encoding="utf-8"))) or ""
    return said.partition("\n")[0].rstrip(".")


def _used(room: str, floors: list[list[str]]) -> list[str]:
    """Return the rooms that a room imports from, in the order of their floors."""
    found: set[str] = set()
    for file in _files(room):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module is not None:
                found.update(f"{node.module}.{alias.name}".split(".")[1] for alias in node.names
                             if node.module.partition(".")[0] == "core")  # fmt: skip
    return [other for floor in floors for other in floor if other in found and other != room]
