"""The table of `docs/install.md`, from the results of `tools.bench_extras`."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from tools.bench_extras import RESULTS, extras

__all__ = ["BRINGS", "outcome", "tables"]

Table = Callable[[tuple[str, ...], list[tuple[str, ...]]], str]
HEAD = ("extra", "for", "packages", "MB", "tried with")
#: What a user gets from each extra, with the page about it.
BRINGS = {
    "qualcomm": "the compiler and emulator of [Snapdragon's NPU](qualcomm.md), and Qualcomm AI Hub",
    "tensorrt": "[TensorRT](tensorrt.md), on the NVIDIA GPU that an engine is for",
    "rtx": "[TensorRT-RTX](tensorrt.md), which builds engines without a GPU",
    "openvino": "[OpenVINO](runtimes.md#openvino): processors, and Intel's GPUs and NPUs",
    "nncf": "[8 bits as OpenVINO's own quantiser places them](runtimes.md#openvino)",
    "webgpu": "[WebGPU](runtimes.md#execution-providers) in ONNX Runtime: any GPU",
    "formats": "[AAC, WMA and more](songs.md#what-can-be-read), by FFmpeg's libraries",
    "dynamo": "exporter [`onnx_dynamo`](reference.md#onnx_dynamo)",
    "mlflow": "reporter [`mlflow`](reference.md#mlflow)",
    "torchao": "[8 bits in PyTorch's own programs](runtimes.md#pytorch)",
    "s3": "[a store at `s3://`](store.md#s3)",
    "joblib": "[points of a sweep in parallel](sweeps.md#points-in-parallel)",
    "ray": "[songs](songs.md#on-many-cores-and-machines) and [sweeps](cluster.md#ray) on a cluster",
    "slurm": "[points of a sweep as jobs of Slurm](cluster.md#slurm)",
    "optuna": "[a search](sweeps.md#search) in place of a grid",
    "signing": "[signed bundles](bundle.md#sign-it-and-verify-it)",
}


def tables(table: Table) -> str:
    """Return a row for every extra; `table` writes Markdown."""
    if not RESULTS.exists():
        return "Not measured yet: `make bench-extras`."
    results: dict[str, Any] = json.loads(RESULTS.read_text(encoding="utf-8"))
    lines = [(f"`{name}`", BRINGS[name], *outcome(results.get(name))) for name in extras()]
    first = next(iter(results.values()))
    origin = f"`{first['command']}`, on {first['machine']}; torch {first['versions']['torch']}."
    return f"{table(HEAD, lines)}\n\n{origin}"


def outcome(found: dict[str, Any] | None) -> tuple[str, str, str]:
    """Return the packages and MB of an extra, and what it was tried with."""
    if not found:
        return "-", "-", "not tried yet"
    row = found["rows"][0]
    if "untried" in row:
        return "-", "-", f"not installed here: {row['untried']}"
    typed = ", ".join(f"`{_shown(command)}`" for command in row["commands"] if _shown(command))
    if not row["as_expected"]:
        return str(row["packages"]), f"{row['mb']:.0f}", f"{typed}: failed"
    refused = "" if not row["code"] else ": ends with the reason, since this machine has none"
    return str(row["packages"]), f"{row['mb']:.0f}", typed + refused


def _shown(command: str) -> str:
    """Return a command without its usual beginning; empty for those that only prepare."""
    if command.startswith("openssl") or command.endswith("reporter=[]"):
        return ""
    return command.removeprefix("python -m core ").removeprefix("python -m ")
