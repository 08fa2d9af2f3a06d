"""Times the graphs of the dsp against the NumPy transform that they replace, side by side.

python -m tools.dsp_speed                 44,100 samples, as the recipes cut them
python -m tools.dsp_speed 343980          another length of window
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from core import ModelInfo, Signature, TensorSpec, outside
from core.formats.onnx_session import silent_onnxruntime
from core.machine.environment import machine
from plugins.dsp.stft import Stft, StftOptions

ROUNDS = 21
NFFT, CHANNELS, STEMS = 4096, 2, 4


def htdemucs() -> ModelInfo:
    """Describe HTDemucs as its plugin does."""
    mix = TensorSpec("mix", ("channel", "time"), (CHANNELS, "time"))
    stems = TensorSpec("stems", ("stem", "channel", "time"), (STEMS, CHANNELS, "time"))
    names = {"input": "mix", "spec_input": "mag", "time_output": "t", "spec_output": "s"}
    facts = {**names, "output": "stems", "nfft": NFFT, "hop": NFFT // 4, "normalise": True}
    return ModelInfo(Signature((mix,), (stems,)), ("mix", "mag"), ("t", "s"), dsp_facts=facts)


def report(name: str, method: Callable[[], object], graph: Callable[[], object]) -> None:
    """Print both medians and their ratio; the two run in turn, so that both meet the same load."""
    seconds: tuple[list[float], list[float]] = ([], [])
    for _ in range(ROUNDS):
        for function, taken in zip((method, graph), seconds, strict=True):
            started = time.perf_counter()
            function()
            taken.append(time.perf_counter() - started)
    numpy_ms, graph_ms = (1e3 * statistics.median(taken) for taken in seconds)
    ratio = graph_ms / numpy_ms
    print(f"{name}: NumPy {numpy_ms:.1f} ms, graph {graph_ms:.1f} ms, ratio {ratio:.2f}")


def main(length: int) -> None:
    """Time both directions for windows of `length` samples."""
    transform = Stft(StftOptions()).bind(htdemucs())
    rng = np.random.default_rng(0)
    window = {"mix": rng.standard_normal((CHANNELS, length)).astype(np.float32)}
    feeds, remembered = transform.forward(window)
    shapes = {"t": feeds["mix"].shape[1:], "s": feeds["mag"].shape[1:]}
    outputs = {
        name: rng.standard_normal((1, STEMS, *shape)).astype(np.float32)
        for name, shape in shapes.items()
    }
    import onnxruntime  # after `core`, which stops it from sending data

    silent_onnxruntime()
    with tempfile.TemporaryDirectory() as folder:
        files = transform.graphs({"time": length}, Path(folder)) or {}
        forward, inverse = (
            onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
            for file in files.values()
        )
    print(f"{length} samples, {machine()}, ONNX Runtime {onnxruntime.__version__}")
    given = {outside(name): array for name, array in window.items()}
    report("forward", lambda: transform.forward(window), lambda: forward.run(None, given))
    back = {**outputs, **remembered}
    report(
        "inverse", lambda: transform.inverse(outputs, remembered), lambda: inverse.run(None, back)
    )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 44100)
