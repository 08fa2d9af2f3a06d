"""The precisions that a group can have, and ONNX Runtime's settings for a graph that mixes them."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import TYPE_CHECKING, Any

from plugins.quantizer._onnx.graph.select import activations
from plugins.quantizer._onnx.qdq.qnn_ranges import qnn_overrides

if TYPE_CHECKING:
    import onnx

__all__ = ["Level", "config_of"]

#: Operators whose constants are quantised as activations are, not as weights.
ELEMENTWISE = frozenset({"Add", "Sub", "Mul", "Div", "Min", "Max"})


class Level(Enum):
    """The precision of a group's activations; weights have 8 bits beside integers."""

    int8 = 8
    int16 = 16
    float = 32


def config_of(model: onnx.ModelProto, levels: Mapping[str, Level], *, per_channel: bool) -> Any:
    """Return ONNX Runtime's settings for a graph whose nodes have `levels`, by name.

    The tensors that a node reads and writes have the bits of the node: where two levels meet, the
    tensor has those of the node that writes it, and is converted for the others. An input of the
    graph has the most bits that a reader wants. Nodes without a level stay in float.
    """
    from onnxruntime.quantization import QuantType
    from onnxruntime.quantization.execution_providers.qnn import get_qnn_qdq_config

    types = {Level.int8: QuantType.QUInt8, Level.int16: QuantType.QUInt16}
    overrides = qnn_overrides(model, _wide_constants(model, levels))
    made_by = {name: node.name for node in model.graph.node for name in node.output}
    readers: dict[str, dict[str, Level]] = {}
    for node in model.graph.node:
        level = levels.get(node.name, Level.float)
        if level is not Level.float:
            for name in node.input:
                readers.setdefault(name, {})[node.name] = level
    for tensor in activations(model):
        taken = readers.get(tensor, {})
        own = levels.get(made_by.get(tensor, ""), Level.float)
        if own is Level.float:
            own = max(taken.values(), key=lambda level: level.value, default=Level.float)
        if own is Level.float:
            continue
        override: dict[str, Any] = {"quant_type": types[own]}
        others = {name for name, level in taken.items() if level is not own}
        if others:
            other = Level.int8 if own is Level.int16 else Level.int16
            override["convert"] = {"quant_type": types[other], "recv_nodes": others}
        overrides[tensor] = [override]
    return get_qnn_qdq_config(
        model,
        None,  # its reader of calibration data: the ranges are collected beside it
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        per_channel=per_channel,
        init_overrides=overrides,
        add_qtype_converts=False,  # every conversion is named above
        nodes_to_exclude=[
            node.name
            for node in model.graph.node
            if levels.get(node.name, Level.float) is Level.float
        ],
    )


def _wide_constants(model: onnx.ModelProto, levels: Mapping[str, Level]) -> list[str]:
    """Return the constants that only element-wise nodes of 16 bits read: they get 16 bits too."""
    constants = {tensor.name for tensor in model.graph.initializer}
    constants |= {node.output[0] for node in model.graph.node if node.op_type == "Constant"}
    wide: set[str] = set()
    narrow: set[str] = set()
    for node in model.graph.node:
        own = node.op_type in ELEMENTWISE and levels.get(node.name) is Level.int16
        (wide if own else narrow).update(constants.intersection(node.input))
    return sorted(wide - narrow)
