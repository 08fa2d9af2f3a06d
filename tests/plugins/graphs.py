"""Small ONNX graphs made by hand, quantised and played, for tests."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from core import (
    Artifact,
    Calibration,
    ModelInfo,
    Quantizer,
    Signature,
    StageContext,
    StageResult,
    TensorSpec,
)
from core.measure.metrics import snr_db
from core.plugin.progress import silent

Windows = Sequence[Mapping[str, np.ndarray]]
INFO = ModelInfo(
    Signature((TensorSpec("x", ("a",), ("a",)),), (TensorSpec("y", ("a",), ("a",)),)),
    ("x",),
    ("y",),
)


def graph(
    nodes: Sequence[onnx.NodeProto],
    inputs: Mapping[str, Sequence[int | str]],
    outputs: Mapping[str, Sequence[int | str] | None],
    constants: Mapping[str, Any],
    opset: int = 20,
) -> onnx.ModelProto:
    """Return a checked model with inferred shapes; constants are FP32 or whole numbers."""
    arrays = {name: np.asarray(value) for name, value in constants.items()}
    arrays = {n: a.astype(np.float32) if a.dtype.kind == "f" else a for n, a in arrays.items()}
    made = helper.make_graph(
        list(nodes),
        "graph",
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in inputs.items()],
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in outputs.items()],
        [numpy_helper.from_array(array, name) for name, array in arrays.items()],
    )
    imports = [helper.make_opsetid("", opset)]
    model = helper.make_model(made, opset_imports=imports, ir_version=10 if opset > 8 else 3)
    onnx.checker.check_model(model)
    return onnx.shape_inference.infer_shapes(model)


def windows(
    make: Callable[[np.random.Generator], Mapping[str, Any]], count: int = 8, seed: int = 0
) -> list[dict[str, np.ndarray]]:
    """Return windows of `make`'s arrays, in FP32 or in whole numbers."""
    random = np.random.default_rng(seed)
    drawn = [make(random) for _ in range(count)]
    return [
        {n: a.astype(np.float32) if a.dtype.kind == "f" else a for n, a in window.items()}
        for window in drawn
    ]


def computed(model: onnx.ModelProto | Path, window: Mapping[str, np.ndarray]) -> list[np.ndarray]:
    """Return ONNX Runtime's outputs, as exact as the runtime computes them."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.add_session_config_entry("session.x64quantprecision", "1")
    options.add_session_config_entry("session.qdq_matmulnbits_accuracy_level", "1")
    session = onnxruntime.InferenceSession(
        str(model) if isinstance(model, Path) else model.SerializeToString(),
        options,
        providers=["CPUExecutionProvider"],
    )
    return list(session.run(None, dict(window)))


def lowered(
    quantizer: Quantizer[Any], model: onnx.ModelProto, given: Windows, folder: Path
) -> StageResult:
    """Quantise a graph."""
    source = folder / "source" / "model.onnx"
    source.parent.mkdir(parents=True)
    onnx.save(model, source)
    artifact = Artifact(
        str(source.parent), str(source), "onnx", "fp32", "", source.stat().st_size, model=INFO
    )
    work = folder / "work"
    work.mkdir()
    return quantizer.run(
        artifact, Calibration(len(given), lambda: given), StageContext(work, silent())
    )


def worst_db(model: onnx.ModelProto, made: StageResult, given: Windows) -> float:
    """Return the SNR in dB of the worst output in the worst window."""
    return min(
        snr_db(expected, actual)
        for window in given
        for expected, actual in zip(
            computed(model, window), computed(made.path, window), strict=True
        )
    )
