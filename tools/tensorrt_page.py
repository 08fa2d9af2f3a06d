"""The tables of `docs/tensorrt.md`, from the results of `tools/bench_tensorrt.py`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

__all__ = ["tables"]

RESULTS = Path(__file__).parent.parent / "docs" / "results" / "tensorrt.json"
RATE = 44_100
_TITLES = {
    "bundled": "The bundled model",
    "full": "The full-size HTDemucs, 42 M parameters, random weights",
    "training": "The same, in windows as long as those of its training",
    "free": "Two convolutions with a free batch",
}


def tables(table: Any) -> str:
    """Return every measured part; `table` writes a head and rows as Markdown."""
    results = json.loads(RESULTS.read_text(encoding="utf-8"))
    pieces = []
    for part, title in _TITLES.items():
        if part in results:
            found = results[part]
            head, rows = (_free if part == "free" else _built)(found["rows"])
            pieces += [f"### {title}", table(head, rows), _origin(found)]
    return "\n\n".join(pieces)


def _origin(found: dict[str, Any]) -> str:
    versions = ", ".join(
        f"{name} {found['versions'][name]}"
        for name in ("tensorrt-rtx-cu12", "onnx", "torch")
        if name in found["versions"]
    )
    return f"`{found['command']}`, on {found['machine']}; {versions}. No GPU took part."


def _built(rows: list[dict[str, Any]]) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    head = (
        "window", "precision", "compute capability", "build", "builder's memory", "engine",
        "layers", "8-bit products fused",
    )  # fmt: skip
    return head, [
        (
            f"{r['samples']:,} ({r['samples'] / RATE:.1f} s)",
            r["precision"],
            " and ".join(r["capabilities"]),
            f"{r['build_s']:.1f} s",
            f"{r['memory_mb'] / 1000:.1f} GB",
            f"{r['engine_mb']:.1f} MB",
            str(r["layers"]),
            f"{r['products'] - r['unfused']} of {r['products']}" if r["products"] else "-",
        )
        for r in rows
    ]


def _free(rows: list[dict[str, Any]]) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    head = ("profiles (least, best, greatest batch)", "build", "builder's memory", "engine")
    return head, [
        (
            "; ".join(", ".join(map(str, one["batch"])) for one in r["profiles"]),
            f"{r['build_s']:.1f} s",
            f"{r['memory_mb'] / 1000:.1f} GB",
            f"{r['engine_mb']:.2f} MB",
        )
        for r in rows
    ]
