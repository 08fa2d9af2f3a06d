"""Opens a float graph so that calibration windows show what happens inside it.

The graph gets outputs of a few bytes each: how large every tensor is, how weak, and how large the
sums inside reductions and norms are. Activations themselves never leave ONNX Runtime.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from core.formats.onnx_graph import save
from core.formats.onnx_session import session_options
from plugins.quantizer._onnx.calibration.inner_sums import OPAQUE, probe_of
from plugins.quantizer._onnx.calibration.observe import Observer
from plugins.quantizer._onnx.graph.constants import failures
from plugins.quantizer._onnx.graph.feeding import refused
from plugins.quantizer._onnx.graph.select import activations

if TYPE_CHECKING:
    from pathlib import Path

    import onnx

__all__ = ["observer_of"]

#: Operators for which every single value counts, however small: a divisor's error is the result's.
SENSITIVE = {"Div": 1, "Reciprocal": 0, "Sqrt": 0, "Log": 0}


def observer_of(model: onnx.ModelProto, scratch: Path) -> Observer:
    """Open `model`, which stays unchanged, with an output for everything that is observed.

    Raises StageError for a graph that ONNX Runtime does not open.
    """
    import onnx
    import onnxruntime

    watched = onnx.ModelProto()
    watched.CopyFrom(model)
    tensors = activations(model)
    known = set(tensors)
    places = {t: None for n in model.graph.node for t in _sensitive_inputs(n)}
    sensitive = [t for t in places if t in known]
    probes = [
        probe
        for node in model.graph.node
        if node.op_type not in OPAQUE and node.input and node.input[0] in known
        if (probe := probe_of(node)) is not None
    ]
    _add(watched, tensors, _measures)
    _add(watched, sensitive, _least)
    for probe in probes:
        watched.graph.node.extend(probe.nodes)
        watched.graph.output.extend(_output(name) for name in probe.outputs)
    path = scratch / "watched.onnx"
    save(watched, path)
    settings = session_options()
    # Nothing can be fused where everything is an output, and looking for it took 49 s for the
    # bundled model's 1,500 nodes (ONNX Runtime 1.31.1); without, the graph opens in 1.4 s.
    settings.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    try:
        session = onnxruntime.InferenceSession(
            str(path), sess_options=settings, providers=["CPUExecutionProvider"]
        )
    except failures() as error:
        raise refused("open the graph", error) from error
    return Observer(session, tensors, sensitive, probes)


def _sensitive_inputs(node: onnx.NodeProto) -> list[str]:
    place = SENSITIVE.get(node.op_type)
    return [] if place is None else [node.input[place]]


def _add(
    model: onnx.ModelProto,
    tensors: list[str],
    measures: Callable[[str, int], list[onnx.NodeProto]],
) -> None:
    """Add the nodes of `measures` for every tensor; their last outputs are results."""
    for index, tensor in enumerate(tensors):
        nodes = measures(tensor, index)
        model.graph.node.extend(nodes)
        read = {name for node in nodes for name in node.input}
        made = [name for node in nodes for name in node.output]
        model.graph.output.extend(_output(name) for name in made if name not in read)


def _measures(tensor: str, index: int) -> list[onnx.NodeProto]:
    from onnx import helper

    return [
        helper.make_node("ReduceMax", [tensor], [f"high.{index}"], keepdims=0),
        helper.make_node("ReduceMin", [tensor], [f"low.{index}"], keepdims=0),
        helper.make_node("ReduceSumSquare", [tensor], [f"squares.{index}"], keepdims=0),
        helper.make_node("Size", [tensor], [f"size.{index}"]),
    ]


def _least(tensor: str, index: int) -> list[onnx.NodeProto]:
    """Return the nodes that give the smallest magnitude other than 0, infinite where all are 0."""
    import numpy as np
    from onnx import helper, numpy_helper

    nothing, infinity = (numpy_helper.from_array(np.array(v, np.float32)) for v in (0.0, np.inf))
    part = [f"least.{step}.{index}" for step in ("zero", "infinity", "size", "none", "some")]
    return [
        helper.make_node("Constant", [], [part[0]], value=nothing),
        helper.make_node("Constant", [], [part[1]], value=infinity),
        helper.make_node("Abs", [tensor], [part[2]]),
        helper.make_node("Equal", [part[2], part[0]], [part[3]]),
        helper.make_node("Where", [part[3], part[1], part[2]], [part[4]]),
        helper.make_node("ReduceMin", [part[4]], [f"least.{index}"], keepdims=0),
    ]


def _output(name: str) -> onnx.ValueInfoProto:
    """Return an output whose type ONNX Runtime infers."""
    import onnx

    return onnx.ValueInfoProto(name=name)
