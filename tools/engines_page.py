"""The tables of `docs/engines.md`, from the results of `tools.bench_engines`."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from core.machine.machine_load import load_in

__all__ = ["tables"]

RESULTS = Path(__file__).parent.parent / "docs" / "results" / "engines.json"
Table = Callable[[tuple[str, ...], list[tuple[str, ...]]], str]
HEAD = (
    "engine", "precision", "builds here", "runs here", "SNR to FP32 PyTorch, worst stem",
    "one window", "to eager PyTorch", "processor time", "cold start: open, first window, second",
    "size", "nodes as asked",
)  # fmt: skip
TITLES = {
    "torch": "PyTorch, eager",
    "torch_compiled": "PyTorch, compiled when opened",
    "torch_aot": "PyTorch, compiled ahead of time",
    "onnxruntime": "ONNX Runtime, CPU",
    "onnxruntime_webgpu": "ONNX Runtime, WebGPU",
    "openvino": "OpenVINO, CPU",
    "tensorrt": "TensorRT",
    "qnn_s24": "Qualcomm's HTP of a Galaxy S24",
}
MODELS = {"bundled": "The bundled HTDemucs", "full": "The full-size HTDemucs, random weights"}
#: Libraries whose versions a line names.
NAMED = (
    "torch", "onnxruntime", "openvino", "nncf", "onnxruntime-ep-webgpu", "onnxruntime-qnn",
    "tensorrt",
)  # fmt: skip
NONE = "-"


def tables(table: Table, file: Path = RESULTS) -> str:
    """Return a table for each model and length of a window; `table` writes Markdown."""
    if not file.exists():
        return "Not measured yet: `make bench-engines`."
    results: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    pieces = []
    for part, found in results.items():
        model, _, seconds = part.partition(" ")
        numbers = {series: number for number, series in enumerate(found["series"], 1)}
        lines = [_line(row, numbers) for row in found["rows"]]
        pieces += [
            f"## {MODELS[model]}, windows of {seconds} s",
            table(HEAD, lines),
            *_reasons(found["rows"]),
            "\n".join(_origin(numbers[name], one) for name, one in found["series"].items()),
        ]
    return "\n\n".join(pieces)


def _line(row: Mapping[str, Any], numbers: Mapping[str, int]) -> tuple[str, ...]:
    return (
        f"{TITLES[row['engine']]} ({numbers[row['series']]})",
        f"`{row['precision']}`",
        "yes" if row["builds"] else "no",
        _runs(row),
        f"{row['worst_snr_db']:.1f} dB" if "worst_snr_db" in row else NONE,
        _window(row),
        _ratio(row),
        f"{row['cpu_ms']:.0f} ms" if "cpu_ms" in row else NONE,
        _cold(row.get("cold_start_s", ())),
        f"{row['bytes'] / 1e6:.1f} MB" if "bytes" in row else NONE,
        _share(row["coverage"]) if "coverage" in row else NONE,
    )


def _window(row: Mapping[str, Any]) -> str:
    if "ms" not in row:
        return NONE
    return f"{row['ms']:.0f} ms ({row['low_ms']:.0f} to {row['high_ms']:.0f})"


def _runs(row: Mapping[str, Any]) -> str:
    if not row["runs"]:
        return "no"
    return "yes" if row["on_target"] else "emulated"


def _ratio(row: Mapping[str, Any]) -> str:
    """Return the time of a window over that of eager PyTorch in the same series."""
    base = row.get("base_ms")
    return f"{row['ms'] / base:.2f} ×" if base and "ms" in row else NONE


def _cold(seconds: Sequence[float]) -> str:
    return ", ".join(f"{1000 * one:.0f}" for one in seconds) + " ms" if seconds else NONE


def _share(part: float) -> str:
    """Return a share in per cent; what is not whole must not look so."""
    return "100 %" if part == 1 else f"{int(1000 * part) / 10} %"


def _reasons(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return a list of what does not build or run here, and why."""
    said = [
        f"- {TITLES[row['engine']]}, `{row['precision']}`: {row['why']}"
        + (f". Install: `{row['install']}`" if row["install"] else "")
        for row in rows
        if row["why"]
    ]
    return ["Why not:", "\n".join(said)] if said else []


def _origin(number: int, series: Mapping[str, Any]) -> str:
    versions = ", ".join(f"{n} {series['versions'][n]}" for n in NAMED if n in series["versions"])
    load = load_in(series)
    said = f"; {load.said}" if load is not None else ""
    return (
        f"{number}. `{series['command']}`, on {series['processor']}; {series['machine']}; "
        f"{versions}; {series['rounds']} rounds{said}."
    )
