"""The tables of `docs/security.md`, from the counts of `python -m tests.torture`."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

__all__ = ["tables"]

RESULTS = Path(__file__).parent.parent / "docs" / "results" / "torture.json"
Table = Callable[[tuple[str, ...], list[tuple[str, ...]]], str]
TITLES = {
    "kills": "commands killed at a file operation or a request",
    "disks": "disks of 4 kB to 60 MB, too small for the command",
    "concurrency": "commands at once on one store and one folder of outputs",
    "flips": "bits flipped below a store",
    "songs": "hostile songs",
    "models": "hostile checkpoints",
    "fuzz": "hostile recipes, command lines, and damaged files of every kind",
}
COLUMNS = ("lost", "doubled", "outside", "hanging", "tracebacks", "unnoticed")


def tables(table: Table) -> str:
    """Return a row for every part of the suite; `table` writes Markdown."""
    if not RESULTS.exists():
        return "Not run yet: `make torture`."
    results: dict[str, Any] = json.loads(RESULTS.read_text(encoding="utf-8"))
    parts = {part: results[part]["rows"][0] for part in TITLES if part in results}
    lines = [
        (
            TITLES[part],
            f"{row['cases']:,}",
            *(str(row[column]) for column in COLUMNS),
            f"{row['seconds']:.0f} s",
        )
        for part, row in parts.items()
    ]
    origins = {
        (of["machine"], of["processor"], of["when"], of["rows"][0]["seed"])
        for of in (results[part] for part in parts)
    }
    ran = "; ".join(
        f"{when}, seed {seed}: {machine}, {processor}"
        for machine, processor, when, seed in sorted(origins)
    )
    loads = [row["load_average"] for row in parts.values()]
    origin = (
        f"`make torture`, {ran}. Other work ran beside it (load average {min(loads):.1f} to "
        f"{max(loads):.1f}). The seconds depend on that work as much as on the cases."
    )
    details = table(
        ("part", "of which"),
        [(f"`{part}`", _details(row["about"])) for part, row in parts.items()],
    )
    return "\n\n".join([table(("", "cases", *COLUMNS, "took"), lines), details, origin])


def _details(about: dict[str, Any]) -> str:
    """Return the other figures of a part, in words."""
    return ", ".join(
        f"{name.replace('_', ' ')}: {value:,}" if isinstance(value, int) else f"{name}: {value}"
        for name, value in about.items()
    )
