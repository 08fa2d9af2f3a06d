"""Cuts a graph into parts that compile by themselves: all up to a node, or the node alone.

A quantised graph is cut only behind a QuantizeLinear of an activation: between an operator and
its QuantizeLinear the tensor is a float, and the compiler would take another operator for it.
"""

from __future__ import annotations

import heapq
import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from core.formats.onnx_bounds import check_external

if TYPE_CHECKING:
    import onnx

__all__ = ["Parts", "Place"]

_QUANTISE, _DEQUANTISE = "QuantizeLinear", "DequantizeLinear"
#: The first opset whose own QuantizeLinear has 16 bits; before, ONNX Runtime's domain has it.
_SIXTEEN_BITS = 21


@dataclass(frozen=True)
class Place:
    """A node where the graph can be cut: its name, operator, and the tensor that it puts out.

    `bytes` is the size of the largest activation that it reads or writes.
    """

    node: str
    operator: str
    shape: tuple[int, ...]
    dtype: str
    bytes: int
    cut: int


class Parts:
    """The places of the ONNX graph at `source`, in topological order, and the parts up to them."""

    def __init__(self, source: Path) -> None:
        import onnx
        from onnx.utils import Extractor

        model = onnx.load(str(source), load_external_data=False)
        check_external(model, source)
        _sort(model.graph)
        typed = _typed(model)
        del model.graph.value_info[:]
        model.graph.value_info.extend(typed.graph.value_info)
        onnx.load_external_data_for_model(model, str(source.parent))
        self._model = model
        self._nodes: list[onnx.NodeProto] = list(model.graph.node)
        self._maker: dict[str, onnx.NodeProto] = {
            name: node for node in self._nodes for name in node.output if name
        }
        self._extractor = Extractor(model)
        self._constant = {tensor.name for tensor in model.graph.initializer}
        for node in self._nodes:
            if all(name in self._constant for name in node.input if name):
                self._constant.update(node.output)
        quantised = any(node.op_type == _DEQUANTISE for node in self._nodes)
        self.places = [
            self._place(index)
            for index, node in enumerate(self._nodes)
            if self._is_cut(node, quantised=quantised)
        ]

    def up_to(self, place: Place) -> onnx.ModelProto:
        """Return the graph up to and with `place`; the tensors for later nodes are its outputs."""
        inside, outside = self._nodes[: place.cut + 1], self._nodes[place.cut + 1 :]
        read = {name for node in outside for name in node.input}
        read |= {value.name for value in self._model.graph.output}
        live = [name for node in inside for name in node.output if name in read - self._constant]
        fed = [v.name for v in self._model.graph.input if v.name not in self._constant]
        return self._extractor.extract_model(fed, live)

    def alone(self, place: Place) -> onnx.ModelProto:
        """Return the one node of `place`, with the (de)quantisation around it."""
        node = self._computing(place.cut)
        inputs = []
        for name in dict.fromkeys(node.input):
            if name and name not in self._constant:
                made = self._maker.get(name)
                inputs.append(made.input[0] if made and made.op_type == _DEQUANTISE else name)
        outputs = [name for name in self._nodes[place.cut].output if name]
        return self._extractor.extract_model(inputs, outputs)

    def _is_cut(self, node: onnx.NodeProto, *, quantised: bool) -> bool:
        if not any(name not in self._constant for name in node.output if name):
            return False
        if not quantised:
            return True
        made = self._maker.get(node.input[0])
        return node.op_type == _QUANTISE and made is not None and made.op_type != _DEQUANTISE

    def _computing(self, cut: int) -> onnx.NodeProto:
        """Return the node that computes the tensor cut off at `cut`."""
        node = self._nodes[cut]
        return self._maker[node.input[0]] if node.op_type == _QUANTISE else node

    def _place(self, cut: int) -> Place:
        node, last = self._computing(cut), self._nodes[cut]
        read = [self._described(name) for name in node.input if name and name not in self._constant]
        shape, dtype, size = self._described(last.output[0])
        return Place(
            node.name or node.output[0],
            node.op_type,
            shape,
            dtype,
            max(size, *(r[2] for r in read)) if read else size,
            cut,
        )

    def _described(self, name: str) -> tuple[tuple[int, ...], str, int]:
        """Return the shape, the type and the bytes of a tensor; an unknown length counts as 0."""
        import onnx

        value = self._extractor.value_infos.get(name)
        tensor = self._extractor.initializers.get(name)
        if tensor is not None:
            shape, kind = tuple(tensor.dims), tensor.data_type
        elif value is not None:
            shape = tuple(d.dim_value for d in value.type.tensor_type.shape.dim)
            kind = value.type.tensor_type.elem_type
        else:
            return (), "", 0
        dtype = onnx.helper.tensor_dtype_to_np_dtype(kind)
        return shape, str(dtype), math.prod(shape) * dtype.itemsize


def _sort(graph: onnx.GraphProto) -> None:
    """Put the nodes behind those that they read, and keep their order otherwise.

    ONNX Runtime 1.31.1's quantiser leaves a node with a renamed output before nodes that it
    reads.
    """
    nodes = list(graph.node)
    maker = {name: index for index, node in enumerate(nodes) for name in node.output if name}
    before = [{maker[name] for name in node.input if name in maker} for node in nodes]
    readers: list[list[int]] = [[] for _ in nodes]
    for index, read in enumerate(before):
        for earlier in read:
            readers[earlier].append(index)
    ready = [index for index, read in enumerate(before) if not read]
    order: list[int] = []
    while ready:
        order.append(heapq.heappop(ready))
        for index in readers[order[-1]]:
            before[index].discard(order[-1])
            if not before[index]:
                heapq.heappush(ready, index)
    del graph.node[:]
    graph.node.extend(nodes[index] for index in order)


def _typed(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return the graph with the type and shape of every tensor that can be inferred."""
    import onnx

    typed = onnx.ModelProto()
    typed.CopyFrom(model)
    for node in typed.graph.node:
        if node.op_type in (_QUANTISE, _DEQUANTISE):
            node.domain = ""
    for opset in typed.opset_import:
        if opset.domain == "":
            opset.version = max(opset.version, _SIXTEEN_BITS)
    return onnx.shape_inference.infer_shapes(typed)
