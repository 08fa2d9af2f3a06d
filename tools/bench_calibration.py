"""Measures calibration of the full-size HTDemucs against ONNX Runtime's own loop, on this machine.

python -m tools.bench_calibration                         make bench-calibration
python -m tools.bench_calibration 64 graph/model.onnx     with a graph of an earlier run

Both sides read the same graph and the same windows of noise. Each side runs in its own process, one
after the other. The figures go to `docs/results/calibration.json`. Weights are random: neither
times nor memory depend on them.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from core import Calibration, StageContext, TorchModel
from core.plugin.progress import silent
from tools.results import about

RESULTS = Path(__file__).parent.parent / "docs" / "results" / "calibration.json"
COMMAND = "make bench-calibration"
LENGTH, WINDOWS = 45_056, 64
#: Luthier runs before and after ONNX Runtime, so that a change of load favours neither side.
SIDES = ("minmax", "onnxruntime", "mse")


def noise(seed: int) -> dict[str, Any]:
    """Return inputs of unit variance, as the normalisation on the host gives them."""
    random = np.random.default_rng(seed)
    shapes = {"mix": (1, 2, LENGTH), "mag": (1, 4, 2048, -(-LENGTH // 1024))}
    return {n: random.standard_normal(s).astype(np.float32) for n, s in shapes.items()}


def export(folder: Path) -> None:
    """Write the full-size network for NPUs as `model.onnx`, simplified."""
    from core.conformance.converter import artifact
    from plugins.exporter.onnx import Onnx
    from plugins.graph.onnxsim import Onnxsim
    from plugins.model.htdemucs import HTDemucs, Layout

    parts = {name: folder / name for name in ("weights", "export", "graph")}
    for part in parts.values():
        part.mkdir(parents=True)
    model = HTDemucs(HTDemucs.Options(weights="random", layout=Layout.npu))
    made = model.fetch(StageContext(parts["weights"], silent()))
    opened = model.open(artifact(parts["weights"], made.path, "torch", "fp32"), {"time": LENGTH})
    assert made.model is not None
    exported = Onnx(Onnx.Options()).run(
        TorchModel(made.model, opened.core, opened.reference),
        noise(0),
        StageContext(parts["export"], silent()),
    )
    Onnxsim(Onnxsim.Options(check_n=0)).run(
        artifact(parts["export"], exported.path, "onnx", "fp32"),
        StageContext(parts["graph"], silent()),
    )


def ours(graph: Path, method: str, operators: list[str], windows: int) -> int:
    """Calibrate with Luthier's own code; returns the number of tensors that got a range."""
    from plugins.quantizer._onnx.calibration.collect import Method, collect

    stream = Calibration(windows, lambda: map(noise, range(windows)))
    ranges = collect(graph, stream, operators, Method[method], 99.999, silent())
    return len(ranges.tensors.data)


def theirs(graph: Path, operators: list[str], windows: int) -> int:
    """Calibrate with ONNX Runtime's own loop; returns the number of tensors that got a range."""
    from onnxruntime.quantization import (
        CalibrationDataReader,
        CalibrationMethod,
        create_calibrator,
    )

    class Reader(CalibrationDataReader):  # type: ignore[misc]  # it has no types
        def __init__(self) -> None:
            self._seeds: Iterator[int] = iter(range(windows))

        def get_next(self) -> dict[str, Any] | None:
            seed = next(self._seeds, None)
            return None if seed is None else noise(seed)

    calibrator = create_calibrator(
        graph, operators, str(graph.with_name("augmented.onnx")), CalibrationMethod.MinMax
    )
    calibrator.collect_data(Reader())
    return len(calibrator.compute_data().data)


def side(graph: Path, name: str, windows: int) -> dict[str, Any]:
    """Calibrate in this process; returns time and memory, from the graph's file to the ranges."""
    import onnx

    nodes = onnx.load(graph, load_external_data=False).graph.node
    operators = sorted({node.op_type for node in nodes} - {"Constant"})
    started, cpu = time.perf_counter(), time.process_time()
    if name == "onnxruntime":
        tensors = theirs(graph, operators, windows)
    else:
        tensors = ours(graph, name, operators, windows)
    return {
        "side": name,
        "samples": LENGTH,
        "windows": windows,
        "tensors": tensors,
        "seconds": time.perf_counter() - started,
        "cpu_seconds": time.process_time() - cpu,
        "peak_rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000,
        "load_average": os.getloadavg()[0],
    }


def child(*arguments: str) -> str:
    """Run a part of this script in its own process; returns the last line of its output."""
    command = [sys.executable, "-m", "tools.bench_calibration", *arguments]
    done = subprocess.run(command, check=True, capture_output=True, text=True)  # noqa: S603  # our own
    return (done.stdout.splitlines() or [""])[-1]


def main(windows: int, graph: Path | None) -> None:
    """Run every side in turn, and write the time and memory of each, and the ratios."""
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as name:
        if graph is None:
            child("--export", name)
        path = Path(name) / "copy.onnx"  # both sides write files beside the graph
        path.write_bytes((graph or Path(name) / "graph" / "model.onnx").read_bytes())
        for one in SIDES:
            rows.append(json.loads(child("--side", str(path), one, str(windows))))
            print(rows[-1], flush=True)
    (reference,) = (row for row in rows if row["side"] == "onnxruntime")
    for row in rows:
        for key in ("seconds", "cpu_seconds"):
            row[f"{key}_ratio"] = row[key] / reference[key]
        print(f"{row['side']}: {row['seconds_ratio']:.2f} of ONNX Runtime's time", flush=True)
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    RESULTS.write_text(json.dumps({**about(COMMAND), "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--export"]:
        export(Path(sys.argv[2]))
    elif sys.argv[1:2] == ["--side"]:
        print(json.dumps(side(Path(sys.argv[2]), sys.argv[3], int(sys.argv[4]))))
    else:
        main(
            int(sys.argv[1]) if sys.argv[1:] else WINDOWS,
            Path(sys.argv[2]) if sys.argv[2:] else None,
        )
