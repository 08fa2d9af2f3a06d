"""Finds the tensors that a graph for QNN must not quantise to the type of all the others.

Two facts, measured with onnxruntime-qnn 2.7.0 on a trained HTDemucs:

* Waveforms and spectrograms are far louder at their peaks than on average, so 8 bits at the
  edges of a network cost more than in all the rest of it: 16 dB in all of it, 29 dB when the
  tensors within two layers of an input or output have 16 bits.
* QNN takes a quantised LayerNormalization only if its gain is unsigned and has one scale. With
  signed or per-channel weights each one falls to the CPU and cuts the graph in two.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from plugins.quantizer._onnx.calibration.probes import ARRANGING, PICKING

if TYPE_CHECKING:
    import onnx

__all__ = ["LAYERS", "carried", "edge_tensors", "qnn_overrides"]

LAYERS = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})
"""Operators that count as a layer between a tensor and the edge of the graph."""


def edge_tensors(model: onnx.ModelProto, depth: int) -> list[str]:
    """Return the activations at most `depth` layers away from an input or output of the graph.

    The shortest path counts, so a skip connection is as near as the layer it feeds. The order is
    that of the graph; `depth` 0 gives the inputs, the outputs and what only reshapes them.
    """
    graph = model.graph
    # An initializer may also be listed as an input, as in graphs of IR version 3.
    constants = {tensor.name for tensor in graph.initializer}
    inputs = [value.name for value in graph.input if value.name not in constants]
    after: dict[str, int] = dict.fromkeys(inputs, 0)
    for node in graph.node:
        known = [after[name] for name in node.input if name in after]
        if known:
            step = min(known) + (node.op_type in LAYERS)
            after.update(dict.fromkeys(filter(None, node.output), step))
    before: dict[str, int] = {value.name: 0 for value in graph.output}
    for node in reversed(graph.node):
        known = [before[name] for name in node.output if name in before]
        if known:
            step = min(known) + (node.op_type in LAYERS)
            for name in filter(after.__contains__, node.input):
                before[name] = min(step, before.get(name, step))
    return [n for n in after if after[n] <= depth or before.get(n, depth + 1) <= depth]


def carried(model: onnx.ModelProto, wide: Iterable[str]) -> list[str]:
    """Return `wide` tensors, and the tensors on the way that only rearrange or pick their values.

    Tensors on the way to a layer, which is to read 8 bits, are none. A norm in 16 bits, its result
    transposed in 8, and a gate that reads that in 16 again would have all the loss of 8.
    """
    readers: dict[str, list[onnx.NodeProto]] = {}
    for node in model.graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    moving = ARRANGING | PICKING
    computes: set[str] = {value.name for value in model.graph.output}
    for node in reversed(model.graph.node):
        if node.op_type in moving:
            computes.update(node.input[:1] if computes.intersection(node.output) else ())
        elif node.op_type not in LAYERS:
            computes.update(node.input)
    found = dict.fromkeys(wide)
    waiting = list(found)
    while waiting:
        for node in readers.get(waiting.pop(), []):
            new = [n for n in node.output if n in computes and n not in found]
            if node.op_type in moving and new:
                found |= dict.fromkeys(new)
                waiting += new
    return list(found)


def qnn_overrides(model: onnx.ModelProto, wide: Iterable[str]) -> dict[str, list[dict[str, Any]]]:
    """Return `init_overrides` for `get_qnn_qdq_config`: `wide` tensors in 16 bits, usable norms.

    Valid for every type of weights, per channel or not.
    """
    from onnxruntime.quantization import QuantType

    constants = {tensor.name for tensor in model.graph.initializer}
    gains = {n.input[1] for n in model.graph.node if n.op_type == "LayerNormalization"}
    return {name: [{"quant_type": QuantType.QUInt16}] for name in wide} | {
        name: [{"quant_type": QuantType.QUInt8, "symmetric": False}]
        for name in sorted(gains & constants)
    }
