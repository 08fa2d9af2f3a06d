"""Finds the nodes that must stay in float whatever a recipe says, and the notices about them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from core import Notice
from plugins.quantizer._onnx.calibration.poles import near_poles
from plugins.quantizer._onnx.graph.operands import (
    SIGNAL,
    is_signal,
    scatters_sums,
    structural_nodes,
)
from plugins.quantizer._onnx.graph.select import activations

if TYPE_CHECKING:
    import onnx

    from plugins.quantizer._onnx.calibration.collect import Ranges

__all__ = ["bits_of", "doubts", "included_nodes", "lost_in_rounding", "named"]

#: Most nodes that a notice names.
NAMED = 3


def bits_of(config: Any, model: onnx.ModelProto) -> dict[str, int]:
    """Return the bits that `config` gives every activation of `model`."""
    overrides = config.extra_options.get("TensorQuantOverrides", {})
    types = {name: entries[0].get("quant_type") for name, entries in overrides.items()}
    return {
        name: 16 if "16" in (types.get(name) or config.activation_type).name else 8
        for name in activations(model)
    }


def included_nodes(
    model: onnx.ModelProto, config: Any, ranges: Ranges, lost: Collection[str]
) -> list[str]:
    """Return the names of the nodes that `config` quantises and that can be, in order.

    `lost` are those that `lost_in_rounding` found.
    """
    out = {*_without_range(model, ranges), *lost}
    return [name for name in _wanted(model, config) if name not in out]


def lost_in_rounding(model: onnx.ModelProto, config: Any, ranges: Ranges) -> dict[str, str]:
    """Return the nodes in which rounding would reach a pole, with the tensors that it loses."""
    if not any(node.op_type == "Log" for node in model.graph.node):
        return {}  # `mixed` asks for every graph that it tries
    bits = bits_of(config, model)
    steps = {}
    for name, data in ranges.at(bits).items():
        low, high = (float(end.item()) for end in data.range_value)
        steps[name] = (max(high, 0.0) - min(low, 0.0)) / (2 ** bits.get(name, 8) - 1)
    candidates = _wanted(model, config).keys() - _without_range(model, ranges).keys()
    return near_poles(model, candidates, ranges.seen, steps)


def _wanted(model: onnx.ModelProto, config: Any) -> dict[str, onnx.NodeProto]:
    """Return the nodes that `config` quantises and that compute a signal, by name.

    Scattered sums are not: some graphs with one in integers gave nothing of the signal on the HTP,
    others with the same types gave all of it (onnxruntime-qnn 2.7.0).
    """
    operators = set(config.op_types_to_quantize) & SIGNAL.keys()
    out = {*(config.nodes_to_exclude or ()), *structural_nodes(model)}
    wanted = (n for n in model.graph.node if n.op_type in operators and n.name not in out)
    return {node.name: node for node in wanted if not scatters_sums(node)}


def _without_range(model: onnx.ModelProto, ranges: Ranges) -> dict[str, str]:
    """Return the nodes that read or write a signal without a range, by name, with its tensor.

    Such a tensor holds infinities in the float graph as well, or has 16 bits, or is never made in
    the windows of the calibration.
    """
    from onnx import TensorProto

    graph = model.graph
    known = {*ranges.tensors.keys(), *(tensor.name for tensor in graph.initializer)}
    floats = {
        value.name
        for value in (*graph.value_info, *graph.input, *graph.output)
        if value.type.tensor_type.elem_type in (TensorProto.FLOAT, TensorProto.FLOAT16)
    }
    floats |= {t.name for t in graph.initializer if t.data_type == TensorProto.FLOAT16}
    known -= {t.name for t in graph.initializer if t.data_type == TensorProto.FLOAT16}
    found: dict[str, str] = {}
    for node in graph.node:
        read = [name for place, name in enumerate(node.input) if is_signal(node, place)]
        lacking = [name for name in (*read, *node.output) if name in floats - known]
        if lacking and node.op_type in SIGNAL:
            found[node.name] = lacking[0]
    return found


def doubts(model: onnx.ModelProto, config: Any, ranges: Ranges) -> tuple[Notice, ...]:
    """Return the notices that a person must read before `model` is quantised by `config`."""
    nodes = _wanted(model, config)
    endless = {
        name: tensor
        for name, tensor in _without_range(model, ranges).items()
        if name in nodes and tensor in ranges.endless
    }
    found = []
    if endless:
        text = (
            f"{len(endless)} node(s) stay in float, since the model itself computes infinities "
            f"there, first in `{next(iter(endless.values()))}`: {named(endless, nodes)}"
        )
        found.append(Notice("warning", text))
    lost = lost_in_rounding(model, config, ranges)
    if lost:
        text = (
            f"{len(lost)} node(s) stay in float, because they lead to a logarithm, whose input "
            f"rounding would make zero or nearly zero: {named(lost, nodes)}"
        )
        found.append(Notice("info", text))
    return (*found, *_too_small(model, ranges))


def _too_small(model: onnx.ModelProto, ranges: Ranges) -> tuple[Notice, ...]:
    """Return the notices about values that are lost because FP32 holds no scale for them."""
    import numpy as np
    from onnx import TensorProto, numpy_helper

    from plugins.quantizer._onnx.qdq.quantiser import SMALLEST

    sizes = {n: max(abs(float(np.squeeze(end))) for end in d.range_value)
             for n, d in ranges.tensors.items()}  # fmt: skip
    for tensor in model.graph.initializer:
        if tensor.data_type == TensorProto.FLOAT:
            values = np.abs(numpy_helper.to_array(tensor))
            sizes[tensor.name] = float(values.max(initial=0.0))
    lost = [f"{name} ({size:.1e})" for name, size in sizes.items() if 0 < size < SMALLEST]
    if not lost:
        return ()
    text = (
        f"{len(lost)} tensor(s) become zero, because FP32 has no scale that small: {named(lost)}; "
        "scale the model's input or weights, or leave out the nodes that read them: exclude=[...]"
    )
    return (Notice("warning", text),)


def named(names: Iterable[str], nodes: Mapping[str, onnx.NodeProto] = MappingProxyType({})) -> str:
    """Name the first few, with their operators where they are nodes."""
    told = [f"{name} ({nodes[name].op_type})" if name in nodes else name for name in names]
    more = f", and {len(told) - NAMED} more" if len(told) > NAMED else ""
    return ", ".join(told[:NAMED]) + more
