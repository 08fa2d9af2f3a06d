"""The tables of `docs/coverage.md`, from the results of `make bench-coverage`."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from tools.coverage.cells import FLOAT, ON_NPU, ONNX, TORCH, Cell
from tools.coverage.prepare import FILE
from tools.coverage.results import RESULTS, cells_of

__all__ = ["tables"]

Table = Callable[[tuple[str, ...], list[tuple[str, ...]]], str]
#: Every part of the sweep: its exporter, its title, and its precisions.
PARTS = {
    "onnx": ("Small modules, through `exporter=onnx`", (*ONNX, *ON_NPU)),
    "onnx_dynamo": ("Small modules, through `exporter=onnx_dynamo`", ONNX),
    "torch_export": ("Small modules, through `exporter=torch_export`", TORCH),
    FILE: ("The models of the `onnx` package", ONNX),
}
VERDICTS = ("near", "refused", "told", "loss", "crash", "late")


def tables(table: Table) -> str:
    """Return the counts, the figures of every network, and the reasons; `table` writes Markdown."""
    if not RESULTS.exists():
        return "Not run yet: `make bench-coverage`."
    results: dict[str, Any] = json.loads(RESULTS.read_text(encoding="utf-8"))
    cells = cells_of(results)
    reasons = {r: i for i, r in enumerate(dict.fromkeys(c.reason for c in cells if c.reason), 1)}
    pieces = [_counts(table, cells), _origin(results)]
    for exporter, (title, precisions) in PARTS.items():
        part = [cell for cell in cells if cell.exporter == exporter]
        if part:
            pieces += [f"## {title}", _figures(table, part, precisions, reasons)]
    listed = [f"{index}. {_plain(reason)}" for reason, index in reasons.items()]
    return "\n\n".join([*pieces, "## Reasons", "\n".join(listed)])


def _counts(table: Table, cells: Sequence[Cell]) -> str:
    rows = []
    for exporter, (title, _) in PARTS.items():
        part = [cell for cell in cells if cell.exporter == exporter]
        found = Counter(cell.verdict for cell in part)
        networks = len({cell.model for cell in part})
        rows.append((title, str(networks), str(len(part)), *(str(found[v]) for v in VERDICTS)))
    head = (
        *("", "networks", "cells", "a figure", "refused", "told loss", "silent loss"),
        *("crash", "too late"),
    )
    return table(head, rows)


def _figures(
    table: Table, cells: Sequence[Cell], precisions: Sequence[str], reasons: dict[str, int]
) -> str:
    """Return a row for every network and a column for every precision."""
    rows: dict[str, dict[str, Cell]] = {}
    for cell in cells:
        rows.setdefault(cell.model, {})[cell.precision] = cell
    lines = [
        (f"`{model}`", *(_figure(row.get(p), reasons) for p in precisions))
        for model, row in sorted(rows.items())
    ]
    return table(("network", *(f"`{p}`" for p in precisions)), lines)


def _figure(cell: Cell | None, reasons: dict[str, int]) -> str:
    if cell is None:
        return ""
    if cell.snr_db is None:
        word = cell.verdict if cell.verdict == "refused" else f"**{cell.verdict}**"
        return f"{word} ({reasons[cell.reason]})"
    beside = "" if cell.precision == FLOAT else f" / {_decibels(cell.reference_db)}"
    text = f"{_decibels(cell.snr_db)}{beside}"
    if cell.verdict == "told":
        return f"*{text}* ({reasons[cell.reason]})"
    return f"**{text}**" if cell.verdict == "loss" else text


def _decibels(value: float | None) -> str:
    return "-" if value is None else f"{value:.0f}"


def _plain(reason: str) -> str:
    """Return a reason for Markdown, with the characters escaped that would format it."""
    return "".join(f"\\{c}" if c in "*_<[" else c for c in reason)


def _origin(found: dict[str, Any]) -> str:
    versions = ", ".join(
        f"{name} {found['versions'][name]}"
        for name in ("torch", "onnx", "onnxruntime", "onnxsim", "torchao")
        if name in found["versions"]
    )
    return f"`{found['command']}`, on {found['machine']}; {versions}."
