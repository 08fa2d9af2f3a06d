"""The tables of `docs/qualcomm.md`, from the results of `tools/bench_qualcomm.py`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

__all__ = ["tables"]

RESULTS = Path(__file__).parent.parent / "docs" / "results" / "qualcomm.json"
RATE = 44_100


def tables(table: Any) -> str:
    """Return every measured part; `table` writes a head and rows as Markdown."""
    results = json.loads(RESULTS.read_text(encoding="utf-8"))
    parts = {
        "exactness": _exactness,
        "compile": _compiled,
        "bundled": _compiled,
        "modes": _modes,
    }
    pieces = []
    for part, write in parts.items():
        if part in results:
            found = results[part]
            head, rows = write(found["rows"])
            pieces += [f"### {_TITLES[part]}", table(head, rows), _origin(found)]
    return "\n\n".join(pieces)


_TITLES = {
    "exactness": "The form against demucs's own layers, FP32 PyTorch",
    "compile": "What the compiler makes of it",
    "bundled": "The bundled model, in windows as long as those of its training",
    "modes": "FP16 in every finalisation mode, 1 s, emulated, against FP32",
}


def _origin(found: dict[str, Any]) -> str:
    versions = ", ".join(
        f"{name} {found['versions'][name]}"
        for name in ("onnxruntime-qnn", "onnxruntime", "torch")
        if name in found["versions"]
    )
    return f"`{found['command']}`, on {found['machine']}; {versions}. No phone took part."


def _window(samples: int) -> str:
    return f"{samples:,} ({samples / RATE:.1f} s)"


def _exactness(rows: list[dict[str, Any]]) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    head = ("window", "`time_out`", "`spec_out`")
    return head, [
        (_window(r["samples"]), f"{r['time_out_db']:.0f} dB", f"{r['spec_out_db']:.0f} dB")
        for r in rows
    ]


def _compiled(rows: list[dict[str, Any]]) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    head = ("window", "form", "precision", "NPU pieces", "compile", "host memory", "context binary")
    ordered = sorted(rows, key=lambda r: (r["samples"], r["layout"], r["precision"]))
    return head, [
        (
            _window(r["samples"]),
            r["layout"],
            r["precision"],
            str(r["partitions"]) if r["fits"] else f"does not fit: {r['cause']}",
            f"{r['compile_s']:.1f} s",
            f"{r['memory_mb'] / 1000:.1f} GB",
            f"{r['context_mb']:.0f} MB" if r["fits"] else "-",
        )
        for r in ordered
    ]


def _modes(rows: list[dict[str, Any]]) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    head = ("mode", "compile", "host memory", "`time_out`", "`spec_out`", "emulating a window")
    lines = []
    for r in rows:
        if "failure" in r:
            lines.append((str(r["mode"]), r["failure"], *["-"] * 4))
            continue
        lines.append((
            str(r["mode"]), f"{r['compile_s']:.1f} s", f"{r['memory_mb'] / 1000:.1f} GB",
            f"{r['time_out_db']:.1f} dB", f"{r['spec_out_db']:.1f} dB", f"{r['emulate_s']:.0f} s",
        ))  # fmt: skip
    return head, lines
