"""Measures the S24's compiler and emulator with the full-size HTDemucs, on this machine.

python -m tools.bench_qualcomm                 everything (make bench-qualcomm)
python -m tools.bench_qualcomm compile modes   only these parts; other parts stay unchanged

Writes `docs/results/qualcomm.json`, from which `make docs` writes the tables of
`docs/qualcomm.md`. Except for the bundled model, weights are random: times and sizes do not depend
on them.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from core.formats.onnx_session import silent_onnxruntime
from core.measure.metrics import snr_db
from plugins.runtime._htp.process import HtpDevice, Limits, QnnFailure, compile_context, emulate
from tools.results import measure

RESULTS = Path(__file__).parent.parent / "docs" / "results" / "qualcomm.json"
COMMAND = "make bench-qualcomm"
PRECISIONS = ("fp16", "w8a16", "a8w8")
#: About 1 s, 2 s, and the training segment of 7.8 s, each the next multiple of 4,096 samples.
LENGTHS = (45_056, 90_112, 344_064)
LIMITS = Limits(seconds=1800.0, memory_bytes=20_000_000_000)
#: The mode of the recipes comes first: the other modes are compared with it.
MODES = (1, 0, 2, 3)


def fit(
    store: Path, layout: str, length: int, precisions: tuple[str, ...], weights: str = "random"
) -> list[dict[str, Any]]:
    """Compile one window at each precision, each from an empty store; return a row for each."""
    arguments = [
        "recipe=s24_fit", f"model.weights={weights}", f"model.layout={layout}", "reporter=[]",
        f"fit.shortest={length}", f"fit.longest={length}",
        f"fit.precisions=[{','.join(precisions)}]",
        f"store={store}", f"output={store / 'outputs'}",
    ]  # fmt: skip
    subprocess.run([sys.executable, "-m", "core", *arguments], check=True)  # noqa: S603  # our own
    (file,) = (store / "outputs").rglob("fit.json")
    rows = []
    for table in json.loads(file.read_text())["precisions"]:
        for row in table["rows"]:
            found = row["verdict"]
            facts = found["facts"]
            rows.append({
                "layout": layout, "samples": row["length"], "precision": table["precision"],
                "fits": found["fits"], "cause": found["cause"],
                "compile_s": facts.get("compile_s", found["seconds"]),
                "memory_mb": facts.get("compiler_peak_memory_mb", found["peak_memory_mb"]),
                "partitions": facts.get("partitions"), "nodes_on_cpu": facts.get("nodes_on_cpu"),
                "context_mb": facts.get("context_binary_bytes", 0) / 1e6,
            })  # fmt: skip
    return rows


def compiled() -> Iterator[dict[str, Any]]:
    """Compile the plain export, and the NPU layout at every length and precision."""
    # FP16 comes first: the other precisions are compared with it.
    cases = [("npu", n, ("fp16",)) for n in LENGTHS]
    cases += [("plain", LENGTHS[0], ("fp16",)), *(("npu", n, PRECISIONS[1:]) for n in LENGTHS)]
    for layout, length, precisions in cases:
        with tempfile.TemporaryDirectory() as store:
            yield from fit(Path(store), layout, length, precisions)


def bundled() -> Iterator[dict[str, Any]]:
    """Compile the bundled model with its training window, at every precision of a recipe."""
    with tempfile.TemporaryDirectory() as store:
        yield from fit(Path(store), "npu", LENGTHS[1], ("fp16", "w8a16", "int8", "a8w8"), "bundled")


def noise(length: int) -> dict[str, Any]:
    """Return inputs of unit variance, as the normalisation on the host gives them."""
    random = np.random.default_rng(0)
    shapes = {"mix": (1, 2, length), "mag": (1, 4, 2048, -(-length // 1024))}
    return {n: random.standard_normal(shape).astype(np.float32) for n, shape in shapes.items()}


def exactness() -> Iterator[dict[str, Any]]:
    """Compare the NPU layout with demucs's own layers, both in FP32 PyTorch."""
    import torch

    from plugins.model._hybrid import checkpoint, weights
    from plugins.model._hybrid.layout import NpuCore
    from plugins.model._hybrid.split import HybridCore

    network = checkpoint.build(weights.random(0).checkpoint, Path("random"))
    for length in LENGTHS:
        feeds = [torch.from_numpy(array) for array in noise(length).values()]
        with torch.no_grad():
            plain = HybridCore(network).eval()(*feeds)
            npu = NpuCore(network, length).eval()(*feeds)
        values = [snr_db(a.numpy(), b.numpy()) for a, b in zip(plain, npu, strict=True)]
        yield {"samples": length, "time_out_db": values[0], "spec_out_db": values[1]}


def modes() -> Iterator[dict[str, Any]]:
    """Compile and emulate 1 s in FP16, in every finalisation mode, and compare with FP32."""
    import onnxruntime

    length = LENGTHS[0]
    with tempfile.TemporaryDirectory() as name:
        store = Path(name)
        fit(store, "npu", length, ("fp16",))
        (float_graph,) = store.glob("graph.onnxsim/*/files/model.onnx")
        (half_graph,) = store.glob("quantizer/*/files/model.onnx")
        silent_onnxruntime()
        session = onnxruntime.InferenceSession(float_graph, providers=["CPUExecutionProvider"])
        outputs = [output.name for output in session.get_outputs()]
        expected = dict(zip(outputs, session.run(outputs, noise(length)), strict=True))
        np.savez(store / "in.npz", **{n: array[None] for n, array in noise(length).items()})
        for mode in MODES:
            row: dict[str, Any] = {"mode": mode, "samples": length}
            try:
                row |= emulated(store, half_graph, mode, expected)
            except QnnFailure as failure:
                row["failure"] = failure.reason
            yield row


def emulated(store: Path, graph: Path, mode: int, expected: dict[str, Any]) -> dict[str, Any]:
    """Compile `graph` in one mode and run one window of it on the emulator."""
    device = HtpDevice(finalization_mode=mode)
    target = store / f"mode{mode}" / "context.onnx"
    target.parent.mkdir()
    done = compile_context(graph, target, folder=target.parent, device=device, limits=LIMITS)
    row = {
        "compile_s": done.seconds,
        "memory_mb": done.peak_rss_bytes / 1e6,
        "partitions": done.partitions,
    }
    ran = emulate(
        target, store / "in.npz", target.parent / "out.npz",
        folder=target.parent, device=device, limits=LIMITS,
    )  # fmt: skip
    with np.load(ran.outputs) as stored:
        values = {f"{n}_db": snr_db(array, stored[n][0]) for n, array in expected.items()}
    return {**row, "emulate_s": ran.seconds_per_chunk[0], **values}


PARTS: dict[str, Callable[[], Iterator[dict[str, Any]]]] = {
    "exactness": exactness,
    "compile": compiled,
    "bundled": bundled,
    "modes": modes,
}


if __name__ == "__main__":
    measure(RESULTS, COMMAND, PARTS, sys.argv[1:])
