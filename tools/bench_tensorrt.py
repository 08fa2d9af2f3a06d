"""Measures what TensorRT-RTX makes of HTDemucs on this machine, which needs no GPU for it.

python -m tools.bench_tensorrt                   everything (make bench-tensorrt)
python -m tools.bench_tensorrt bundled full      only these parts; other parts stay unchanged

Writes `docs/results/tensorrt.json`, from which `make docs` writes the tables of `docs/tensorrt.md`.
Engines are built and not run. Except for the bundled model, weights are random: times and sizes do
not depend on them.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import onnx

from core import StageContext
from core.conformance.converter import onnx_artifact
from core.plugin.progress import silent
from plugins.runtime.tensorrt import Flavour, TensorRt, TensorRtOptions
from tools.results import measure

RESULTS = Path(__file__).parent.parent / "docs" / "results" / "tensorrt.json"
COMMAND = "make bench-tensorrt"
PRECISIONS = ("fp16", "int8_symmetric")
#: A target for each compute capability from Ampere to Blackwell: 8.0, 8.6, 8.9, 12.0.
TARGETS = ("a100", "rtx3090", "rtx4090", "rtx5090")
#: The training windows: of the bundled model, and of the full-size one.
BUNDLED, FULL = 88_200, 343_980


def built(store: Path, target: str, precision: str, length: int, *more: str) -> dict[str, Any]:
    """Build an engine for one window from what `store` has; return its row."""
    output = store / "outputs" / f"{target}-{precision}-{length}"
    arguments = [
        "recipe=tensorrt_fp16", "mode=fit", f"target={target}", "reporter=[]", *more,
        f"fit.shortest={length}", f"fit.longest={length}", f"fit.precisions=[{precision}]",
        f"store={store}", f"output={output}",
    ]  # fmt: skip
    subprocess.run([sys.executable, "-m", "core", *arguments], check=True)  # noqa: S603  # our own
    # The table of a fit has a few facts; the newest engine in the store has them all.
    made = max(store.glob("runtime/*/artifact.json"), key=lambda file: file.stat().st_mtime)
    facts = json.loads(made.read_text())["content"]["artifact"]["facts"]
    return {
        "target": target, "samples": length, "precision": precision,
        "capabilities": facts["compute_capabilities"], "build_s": facts["build_s"],
        "memory_mb": facts["builder_peak_memory_mb"], "engine_mb": facts["engine_bytes"] / 1e6,
        "layers": facts["layers"], "products": facts["quantised_products"],
        "unfused": facts["unfused_pairs"],
    }  # fmt: skip


def bundled() -> Iterator[dict[str, Any]]:
    """Build the bundled model for every sort of GPU that TensorRT-RTX serves."""
    with tempfile.TemporaryDirectory() as store:
        # It has no FP32 products for Turing (7.5), which the INT8 graph also holds.
        yield built(Path(store), "t4", "fp16", BUNDLED)
        for target in TARGETS:
            for precision in PRECISIONS:
                yield built(Path(store), target, precision, BUNDLED)


def full() -> Iterator[dict[str, Any]]:
    """Build the full-size network for two capabilities, alone and in one engine."""
    both = "runtime.compute_capabilities=[8.9,12.0]"
    with tempfile.TemporaryDirectory() as store:
        for precision in PRECISIONS:
            for target, more in (("rtx4090", ()), ("rtx5090", ()), ("rtx4090", (both,))):
                random = ("model=htdemucs", "model.weights=random", *more)
                yield built(Path(store), target, precision, BUNDLED, *random)


def training() -> Iterator[dict[str, Any]]:
    """Build the full-size network for its training window, 7.8 s, without calibration data."""
    # Observing windows of 7.8 s took more than 22 GB of memory in demucs's own layout.
    random = ("model=htdemucs", "model.weights=random", "quantizer.windows=0")
    with tempfile.TemporaryDirectory() as store:
        for target in ("rtx4090", "rtx5090"):
            yield built(Path(store), target, "fp16", FULL, *random)


def free() -> Iterator[dict[str, Any]]:
    """Build two convolutions with a free batch, for batches of 1 to 8.

    HTDemucs cannot serve here: its exported graph holds the batch of 1 in its Reshapes, and the
    tracer writes lengths into it.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        given = onnx_artifact(folder / "given")
        model = onnx.load(given.path)
        for value in (*model.graph.input, *model.graph.output):
            value.type.tensor_type.shape.dim[0].dim_param = "batch"
        onnx.save(model, given.path)
        for profiles in ([{"batch": [1, 4, 8]}], [{"batch": [1, 1, 1]}, {"batch": [2, 8, 8]}]):
            work = StageContext(folder / f"work{len(profiles)}", silent())
            work.folder.mkdir()
            options = TensorRtOptions(Flavour.rtx, ["8.9"], profiles)
            made = TensorRt(options).compile(given, work)
            facts = made.facts
            yield {
                "profiles": profiles, "build_s": facts["build_s"],
                "memory_mb": facts["builder_peak_memory_mb"],
                "engine_mb": made.path.stat().st_size / 1e6, "layers": facts["layers"],
            }  # fmt: skip


PARTS: dict[str, Callable[[], Iterator[dict[str, Any]]]] = {
    "bundled": bundled,
    "full": full,
    "training": training,
    "free": free,
}


if __name__ == "__main__":
    measure(RESULTS, COMMAND, PARTS, sys.argv[1:])
