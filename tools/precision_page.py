"""The tables of `docs/precision.md`, from the results of the precision benchmarks."""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

__all__ = ["tables"]

FOLDER = Path(__file__).parent.parent / "docs" / "results"
RESULTS, CALIBRATION = FOLDER / "precision.json", FOLDER / "calibration.json"
Table = Callable[[tuple[str, ...], list[tuple[str, ...]]], str]


def tables(table: Table) -> str:
    """Return a table of all precisions and a table of calibration; `table` writes Markdown."""
    return "\n\n".join([_precisions(table), *_worlds(table), *_calibration(table)])


def _precisions(table: Table) -> str:
    if not RESULTS.exists():
        return "Not measured yet: `make bench-precision`."
    results = json.loads(RESULTS.read_text(encoding="utf-8"))
    taken = {row["precision"]: row for row in results.get("accepted", {}).get("rows", [])}
    pieces = []
    for part, title in TITLES.items():
        if part not in results:
            continue
        rows = [row for row in results[part]["rows"] if row["bytes"] is not None]
        base = next((r["seconds"] for r in rows if r["precision"] == "fp32"), None)
        lines = [_line(row, row.get("base_seconds", base), part, taken) for row in rows]
        pieces += [f"### {title}", table(HEAD, lines), _origin(results[part])]
    return "\n\n".join(pieces)


def _worlds(table: Table) -> list[str]:
    """Return the losses on generated songs beside the losses on real pieces."""
    if not RESULTS.exists():
        return []
    results = json.loads(RESULTS.read_text(encoding="utf-8"))
    if "real" not in results:
        return []
    generated = {row["precision"]: row for row in results.get("generated", {}).get("rows", [])}
    rows = results["real"]["rows"]
    lines = [
        (
            f"`{row['precision']}`",
            *_mean_and_worst(generated.get(row["precision"], {}).get("snr_db", {})),
            f"{statistics.median(row['snr_db'].values()):.1f} dB",
            *_mean_and_worst(row["snr_db"]),
            f"{min(row['stem_snr_db'].values()):.1f} dB",
            f"{statistics.fmean(row['sdr_drop_db'].values()):.2f} dB",
        )
        for row in rows
    ]
    head = (
        "precision", "generated songs, mean", "worst", "real pieces, median", "mean", "worst",
        "worst stem", "SDR lost, mean",
    )  # fmt: skip
    first = rows[0]
    about = (
        f"SNR to FP32 of all stems together: {len(first['snr_db'])} pieces of recorded music, "
        "rendered MIDI and speech, none of which training or calibration has seen; SDR lost on the "
        f"{len(first['sdr_drop_db'])} whose true stems are known. {_made(results['real'])}"
    )
    return ["### Music of another kind", table(head, lines), about]


def _mean_and_worst(of_songs: dict[str, float]) -> tuple[str, str]:
    """Return the mean over songs, and the worst with its name."""
    if not of_songs:
        return "-", "-"
    worst = min(of_songs, key=lambda name: of_songs[name])
    mean = statistics.fmean(of_songs.values())
    return f"{mean:.1f} dB", f"{of_songs[worst]:.1f} dB ({worst})"


def _calibration(table: Table) -> list[str]:
    """Return the time and memory of calibrating the full-size network, beside ONNX Runtime's."""
    if not CALIBRATION.exists():
        return []
    found = json.loads(CALIBRATION.read_text(encoding="utf-8"))
    rows = found["rows"]
    lines = [
        (
            "ONNX Runtime's own, extremes" if row["side"] == "onnxruntime" else f"`{row['side']}`",
            f"{row['cpu_seconds']:.0f} s ({row['cpu_seconds_ratio']:.2f} ×)",
            f"{row['seconds']:.0f} s",
            f"{row['peak_rss_mb'] / 1000:.1f} GB",
        )
        for row in rows
    ]
    about = (
        f"HTDemucs in full size, {rows[0]['tensors']} tensors, {rows[0]['windows']} windows of "
        f"{rows[0]['samples']:,} samples, each side in a process of its own. "
        f"`{found['command']}`, on {found['machine']}; onnxruntime "
        f"{found['versions']['onnxruntime']}. {found.get('note', '')}"
    )
    head = ("method", "CPU time", "wall time", "peak memory")
    return ["### Calibrating", table(head, lines), about.strip()]


TITLES = {"onnx": "Exported to ONNX", "torch": "PyTorch's own programs"}
HEAD = (
    "precision", "size", "SNR, worst stem", "SDR lost, worst stem", "one window on the CPU",
    "S24's NPU takes it",
)  # fmt: skip


def _line(
    row: dict[str, Any], base: float | None, part: str, taken: dict[str, Any]
) -> tuple[str, ...]:
    seconds, drop = row["seconds"], row["sdr_drop_db"]
    ratio = f" ({seconds / base:.2f} × fp32)" if seconds and base else ""
    return (
        f"`{row['precision']}`",
        f"{row['bytes'] / 1e6:.1f} MB",
        f"{row['snr_db']:.1f} dB",
        "-" if drop is None else f"{max(drop, 0):.2f} dB",
        f"{1000 * seconds:.0f} ms{ratio}" if seconds else "-",
        "no: a torch program" if part == "torch" else _taken(taken.get(row["precision"])),
    )


def _taken(row: dict[str, Any] | None) -> str:
    if row is None:
        return "not asked"
    if not row["takes"]:
        return f"no: {row['why'].removeprefix('error: ')}"
    pieces, left = row["partitions"], row["nodes_on_cpu"]
    size = f"{row['bytes'] / 1e6:.1f} MB"
    return f"in {pieces} piece{'s' if pieces != 1 else ''}, {left} nodes on the CPU, {size}"


def _origin(found: dict[str, Any]) -> str:
    return (
        f"{_made(found)} Three generated songs that neither training nor calibration has seen (6 s "
        "of one for PyTorch's 16-bit floats); the times were measured in turn."
    )


def _made(found: dict[str, Any]) -> str:
    versions = ", ".join(
        f"{name} {found['versions'][name]}"
        for name in ("onnxruntime", "onnxruntime-qnn", "torch")
        if name in found["versions"]
    )
    return f"`{found['command']}`, on {found['machine']}; {versions}."
