"""Proves on a window that PyTorch's reading of a graph computes what ONNX Runtime computes.

A wrong number would be learned from as if it were right. So a graph that PyTorch computes otherwise
is refused, and the error names the first node that differs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from core import StageError, Tensors
from core.formats.onnx_graph import save
from core.formats.onnx_session import session_options
from core.measure.metrics import snr_db

if TYPE_CHECKING:
    import onnx

    from plugins.quantizer._qat.network import Network

__all__ = ["check_agreement"]

#: Two computations in FP32 agree to more dB than this; the least exact norm of ONNX Runtime has 89.
AGREED_DB = 60.0


def check_agreement(network: Network, model: onnx.ModelProto, feeds: Tensors, folder: Path) -> None:
    """Raise StageError, naming the node, where `network`, made of `model`, computes otherwise.

    Its outputs are compared first, on one window; only where these differ, every tensor is.
    """
    names = [value.name for value in model.graph.output]
    if not _differing(network, model, feeds, names, folder):
        return
    made = [name for node in model.graph.node for name in node.output if name]
    wrong = _differing(network, model, feeds, made, folder)
    for node in model.graph.node:
        off = [name for name in node.output if name in wrong]
        if off and not wrong.keys() & set(node.input):
            raise StageError(
                f"the operator `{node.op_type}` computes other values here than in ONNX Runtime: "
                f"`{off[0]}` has {wrong[off[0]]:.1f} dB",
                f"node: {node.name}",
                "quantise without learning (quantizer=qdq), or fix it in plugins/quantizer/_qat",
            )
    raise StageError(
        "the graph computes other values here than in ONNX Runtime, but no single node does",
        f"output: {', '.join(names)}",
        "quantise without learning: quantizer=qdq",
    )


def _differing(
    network: Network, model: onnx.ModelProto, feeds: Tensors, names: Sequence[str], folder: Path
) -> dict[str, float]:
    """Return those of the tensors `names` that are not the same, with their SNR in dB."""
    expected = _played(model, feeds, names, folder)
    with torch.no_grad():
        given = {name: torch.from_numpy(np.array(array)) for name, array in feeds.items()}
        actual = network.run(given, names)
    found = {name: _agreement_db(array, actual[name].numpy()) for name, array in expected.items()}
    return {name: db for name, db in found.items() if db < AGREED_DB}


def _played(
    model: onnx.ModelProto, feeds: Tensors, names: Sequence[str], folder: Path
) -> Mapping[str, np.ndarray]:
    """Return tensors of a graph as ONNX Runtime computes them, node by node."""
    import onnx
    import onnxruntime

    chosen = onnx.ModelProto()
    chosen.CopyFrom(model)
    del chosen.graph.output[:]
    # Neither type nor shape: ONNX Runtime infers both.
    chosen.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    path = folder / "compared.onnx"
    save(chosen, path)
    options = session_options()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(
        str(path), sess_options=options, providers=["CPUExecutionProvider"]
    )
    known = {value.name: feeds[value.name] for value in session.get_inputs()}
    return dict(zip(names, session.run(list(names), known), strict=True))


def _agreement_db(expected: np.ndarray, actual: np.ndarray) -> float:
    """Return the SNR of the finite values in dB; the lowest where shapes or other values differ."""
    if expected.shape != actual.shape:
        return -200.0
    if expected.dtype.kind != "f":
        return 200.0 if np.array_equal(expected, actual) else -200.0
    finite = np.isfinite(expected)
    if not np.array_equal(finite, np.isfinite(actual)):
        return -200.0
    # Values that are not finite are compared by kind: another sign makes another number.
    if not np.array_equal(expected[~finite], actual[~finite], equal_nan=True):
        return -200.0
    return snr_db(expected[finite], actual[finite]) if finite.any() else 200.0
