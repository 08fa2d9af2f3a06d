"""Writes the figures of a benchmark, part by part, with the machine and versions it ran on."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from core.machine.environment import machine, versions

__all__ = ["about", "measure"]

Part = Callable[[], Iterator[dict[str, Any]]]


def about(command: str) -> dict[str, Any]:
    """Return the machine, the versions and the command of a measurement."""
    return {"machine": machine(), "versions": versions(), "command": command}


def measure(file: Path, command: str, parts: Mapping[str, Part], wanted: Sequence[str]) -> None:
    """Measure the wanted parts, or all parts if none is wanted, and write every row at once.

    Parts that are not measured stay unchanged in `file`.
    """
    results = json.loads(file.read_text()) if file.exists() else {}
    file.parent.mkdir(parents=True, exist_ok=True)
    for part in wanted or list(parts):
        origin = about(command)
        rows: list[dict[str, Any]] = []
        for row in parts[part]():
            print(row, flush=True)
            rows.append(row)
            results[part] = {**origin, "rows": rows}
            file.write_text(json.dumps(results, indent=1) + "\n")
