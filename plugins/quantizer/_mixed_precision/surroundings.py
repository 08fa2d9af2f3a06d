"""Reads the surroundings of each node in a quantised graph: scales and rounded weights."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import onnx
    from numpy.typing import NDArray

__all__ = ["Pair", "Surroundings"]


@dataclass(frozen=True)
class Pair:
    """How a tensor is quantised: the operator's domain and type, scale and zero point."""

    domain: str
    scale: onnx.TensorProto
    zero: onnx.TensorProto

    def nodes(self, tensor: str, target: str) -> list[onnx.NodeProto]:
        """Return the nodes that round `tensor` into `target`."""
        from onnx import helper

        middle = f"{target}/integers"
        ends = [self.scale.name, self.zero.name]
        return [
            helper.make_node("QuantizeLinear", [tensor, *ends], [middle], domain=self.domain),
            helper.make_node("DequantizeLinear", [middle, *ends], [target], domain=self.domain),
        ]

    def renamed(self, suffix: object, constants: dict[str, onnx.TensorProto]) -> Pair:
        """Return the pair with constants under names of its own, which are added to `constants`."""
        named = []
        for tensor in (self.scale, self.zero):
            own = copy.deepcopy(tensor)
            own.name = f"{tensor.name}/{suffix}"
            constants[own.name] = own
            named.append(own)
        return Pair(self.domain, *named)


class Surroundings:
    """The surroundings of each node of a quantised graph, by the node's name and tensor's place."""

    def __init__(self, model: onnx.ModelProto) -> None:
        graph = model.graph
        self.constants = {tensor.name: tensor for tensor in graph.initializer}
        self.made_by = {name: node for node in graph.node for name in node.output}
        self.nodes = {node.name: node for node in graph.node}
        self.quantised = {n.input[0]: n for n in graph.node if n.op_type == "QuantizeLinear"}

    def pair(self, node: onnx.NodeProto) -> Pair:
        """Return the pair that a QuantizeLinear or DequantizeLinear belongs to."""
        return Pair(node.domain, self.constants[node.input[1]], self.constants[node.input[2]])

    def read(self, node: str, place: int) -> Pair | NDArray[Any] | None:
        """Return how an input is quantised, or the weights that it is; None for neither."""
        own = self.nodes.get(node)
        maker = self.made_by.get(own.input[place]) if own is not None else None
        if maker is None or maker.op_type != "DequantizeLinear":
            return None
        if maker.input[0] in self.constants:
            return _weights(maker, self.constants)
        return self.pair(maker)

    def given(self, node: str, place: int) -> Pair | None:
        """Return how an output is quantised; None where it is not."""
        own = self.nodes.get(node)
        quantise = self.quantised.get(own.output[place]) if own is not None else None
        return None if quantise is None else self.pair(quantise)


def _weights(node: onnx.NodeProto, constants: Mapping[str, onnx.TensorProto]) -> NDArray[Any]:
    """Return the FP32 values that a DequantizeLinear of constants gives."""
    import numpy as np
    from onnx import numpy_helper

    integers, scale, zero = (
        numpy_helper.to_array(constants[name]).astype(np.float32) for name in node.input[:3]
    )
    axis = next((a.i for a in node.attribute if a.name == "axis"), 1)
    if scale.size > 1:
        shape = [1] * integers.ndim
        shape[axis] = scale.size
        scale, zero = scale.reshape(shape), zero.reshape(shape)
    rounded: NDArray[Any] = ((integers - zero) * scale).astype(np.float32)
    return rounded
