"""The results of a sweep as a file: a row for every network and exporter, a cell per precision."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from tools.coverage.cells import Cell
from tools.results import about

__all__ = ["COMMAND", "RESULTS", "cells_of", "merged", "read", "written"]

RESULTS = Path(__file__).parents[2] / "docs" / "results" / "coverage.json"
COMMAND = "make bench-coverage"


def read(file: Path) -> list[Cell]:
    """Return the cells of an earlier sweep; empty if there was none."""
    return cells_of(json.loads(file.read_text(encoding="utf-8"))) if file.exists() else []


def merged(old: Iterable[Cell], new: Sequence[Cell]) -> list[Cell]:
    """Return the cells of both; of a network that was swept anew, only its new cells."""
    again = {(cell.model, cell.exporter) for cell in new}
    return [*(cell for cell in old if (cell.model, cell.exporter) not in again), *new]


def written(file: Path, cells: Sequence[Cell], seconds: float) -> None:
    """Write cells, one network per line, with the machine and the versions of the sweep."""
    reasons = sorted({cell.reason for cell in cells if cell.reason})
    at = {reason: index for index, reason in enumerate(reasons)}
    rows: dict[tuple[str, str], dict[str, Any]] = {}
    for cell in cells:
        row = rows.setdefault((cell.model, cell.exporter), {})
        row[cell.precision] = [
            cell.verdict, cell.snr_db, cell.reference_db, cell.products_db,
            at[cell.reason] if cell.reason else None, int(cell.names), cell.seconds,
        ]  # fmt: skip
    lines = [
        json.dumps({"model": model, "exporter": exporter, "cells": row})
        for (model, exporter), row in sorted(rows.items())
    ]
    head = {**about(COMMAND), "seconds": round(seconds), "reasons": reasons}
    text = json.dumps(head, indent=1)[:-2] + ',\n "rows": [\n' + ",\n".join(lines) + "\n ]\n}\n"
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_suffix(".part")
    part.write_text(text, encoding="utf-8")
    part.replace(file)  # a reader always finds a complete file


def cells_of(found: dict[str, Any]) -> list[Cell]:
    """Return the cells in the content that `written` wrote."""
    cells = []
    for row in found["rows"]:
        for precision, values in row["cells"].items():
            verdict, snr, reference, products, reason, names, seconds = values
            cells.append(Cell(
                row["model"], row["exporter"], precision, verdict, snr, reference, products,
                "" if reason is None else found["reasons"][reason], bool(names), seconds,
            ))  # fmt: skip
    return cells
