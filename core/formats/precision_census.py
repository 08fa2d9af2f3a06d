"""Counts the operations of an ONNX graph by precision, from the file itself.

A graph may be called INT8 and yet multiply in float, so each node is judged by its neighbours. A
node whose inputs come from `DequantizeLinear` runs on integers where the runtime fuses the two, so
its precision is named after their types: `w8a8`, `w8a16` (weights of 8 bits, activations of 16),
`w4a16`; nodes without weights are named after their activations, `a8` or `a16`. All other nodes
are `fp32`, `fp16` or `bf16`, by the type of their output.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from core.plugin.values import Notice

if TYPE_CHECKING:
    import onnx

    from core.plugin.values import Fact, Row

__all__ = [
    "FLOATS",
    "INTEGER",
    "Census",
    "census",
    "facts_of",
    "macs_by_node",
    "misnomer",
    "precision_by_node",
    "share",
]

FLOATS = ("fp32", "fp16", "bf16")
HALF = 0.5

#: Operators that multiply and accumulate, with the operators of integers that stand for them.
MULTIPLYING = {
    "Conv": "Conv",
    "ConvInteger": "Conv",
    "QLinearConv": "QLinearConv",
    "ConvTranspose": "ConvTranspose",
    "Gemm": "Gemm",
    "MatMul": "MatMul",
    "MatMulInteger": "MatMul",
    "DynamicQuantizeMatMul": "MatMul",
    "MatMulIntegerToFloat": "MatMul",
    "QLinearMatMul": "QLinearMatMul",
}
INTEGER = frozenset(
    {
        "ConvInteger", "DynamicQuantizeMatMul", "MatMulInteger", "MatMulIntegerToFloat",
        "QLinearConv", "QLinearMatMul",
    }
)  # fmt: skip
#: Operators that convert types or only change a shape: they compute nothing and move nothing.
FREE = frozenset(
    {
        "Cast", "Constant", "DequantizeLinear", "DynamicQuantizeLinear", "Flatten", "Identity",
        "QuantizeLinear", "Reshape", "Squeeze", "Unsqueeze",
    }
)  # fmt: skip


@dataclass(frozen=True)
class Census:
    """What a graph computes: nodes and multiply-accumulates per precision, and bytes that move.

    `moved_bytes` counts all weights, read once, and all activations, each written once and read by
    every node that takes it, for one window, at the widths of the graph.
    """

    nodes: dict[str, int]
    macs: dict[str, int]
    moved_bytes: int


def census(path: Path) -> Census:
    """Count the graph in `path`; its weights are not read."""
    import onnx

    model = onnx.load(str(path), load_external_data=False)
    return _Counting(onnx.shape_inference.infer_shapes(model)).census()


def macs_by_node(model: onnx.ModelProto) -> dict[str, int]:
    """Return the multiply-accumulates for one window of every node that multiplies, by its name.

    The model must hold the shapes of its tensors; a length that it does not know counts as 1.
    """
    counting = _Counting(model)
    return {n.name: counting.macs(n) for n in model.graph.node if n.op_type in MULTIPLYING}


def precision_by_node(model: onnx.ModelProto) -> dict[str, str]:
    """Return the precision of every node that computes a signal: `w8a8`, `a16`, `fp32`, ...

    The keys are the names of nodes and of their outputs, since a node need not have a name.
    """
    import onnx

    counting = _Counting(onnx.shape_inference.infer_shapes(model))
    found: dict[str, str] = {}
    for node, precision in counting.signals():
        # A float type that cannot be inferred, as behind an operator of a library, is not guessed.
        if precision not in FLOATS or counting.types.get(node.output[0]):
            found |= {name: precision for name in (node.name, *node.output) if name}
    return found


def facts_of(counted: Census) -> dict[str, Fact]:
    """Return a census as facts, the largest counts first."""
    return {
        "nodes_by_precision": _ordered(counted.nodes),
        "macs_by_precision": _ordered(counted.macs),
        "macs": sum(counted.macs.values()),
        "moved_bytes": counted.moved_bytes,
    }


def misnomer(precision: str, counted: Census) -> Notice | None:
    """Return a warning for a graph that is called integer but computes mostly in float."""
    total = sum(counted.macs.values())
    if precision in FLOATS or not total:
        return None
    part = sum(counted.macs.get(name, 0) for name in FLOATS) / total
    if part <= HALF:
        return None
    text = f"called {precision}, but mostly float: {part:.0%} of its multiply-accumulates are"
    return Notice("warning", f"{text} in floating point")


def share(counts: Mapping[str, int], precisions: Sequence[str]) -> float:
    """Return the share of `counts` that has one of `precisions`, 0 to 1."""
    total = sum(counts.values())
    return sum(counts.get(name, 0) for name in precisions) / total if total else 0.0


def _ordered(counts: dict[str, int]) -> Row:
    return {name: counts[name] for name in sorted(counts, key=lambda name: -counts[name])}


class _Counting:
    """One graph, with its tensors and nodes by name."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self.graph = model.graph
        self.constants = {tensor.name: tensor for tensor in self.graph.initializer}
        self.made_by = {name: node for node in self.graph.node for name in node.output}
        self.read_by: dict[str, list[onnx.NodeProto]] = {}
        for node in self.graph.node:
            for name in node.input:
                self.read_by.setdefault(name, []).append(node)
        values = (*self.graph.value_info, *self.graph.input, *self.graph.output)
        self.types = {v.name: v.type.tensor_type.elem_type for v in values}
        self.shapes = {v.name: tuple(d.dim_value for d in v.type.tensor_type.shape.dim)
                       for v in values}  # fmt: skip

    def census(self) -> Census:
        nodes: Counter[str] = Counter()
        macs: Counter[str] = Counter()
        moved = 0
        for node, precision in self.signals():
            nodes[precision] += 1
            if node.op_type in MULTIPLYING:
                macs[precision] += self.macs(node)
            moved += sum(self._bytes(name) for name in (*node.input, *node.output) if name)
        return Census(dict(nodes), dict(macs), moved)

    def signals(self) -> Iterator[tuple[onnx.NodeProto, str]]:
        """Yield every node that computes a signal, with its precision."""
        for node in self.graph.node:
            if node.op_type not in FREE and self._of_floats(node):
                yield node, self._precision(node)

    def _of_floats(self, node: onnx.NodeProto) -> bool:
        """Say whether the node computes a signal, not a shape or an index."""
        from onnx import TensorProto

        if node.op_type in INTEGER:
            return True
        floats = (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.BFLOAT16, 0)
        return any(self.types.get(name, 0) in floats for name in node.output)

    def _precision(self, node: onnx.NodeProto) -> str:
        from onnx import TensorProto

        if node.op_type in INTEGER:
            return "w8a8"
        weights = [bits for name in node.input if (bits := self._weight_bits(name))]
        signals = [name for name in node.input if name and not self._constant(name)]
        widths = [self._activation_bits(name) for name in signals]
        multiplies = node.op_type in MULTIPLYING
        # Products of integers are integers even where their sum is given in float.
        after = multiplies or all(self._quantised_after(n) for n in node.output if n)
        if signals and all(widths) and after:
            activation = max(widths)
            if not multiplies:
                return f"a{activation}"
            # Two activations multiplied, as in attention, count as weights of their own width.
            return f"w{max(weights, default=min(widths))}a{activation}"
        given = self.types.get(node.output[0], TensorProto.FLOAT)
        names = {TensorProto.FLOAT16: "fp16", TensorProto.BFLOAT16: "bf16"}
        return names.get(given, "fp32")

    def _constant(self, name: str) -> bool:
        """Say whether a tensor is a weight, or one seen through a chain of conversions."""
        while name not in self.constants:
            node = self.made_by.get(name)
            if node is None:
                return False
            if node.op_type == "Constant":
                return True
            if node.op_type not in ("DequantizeLinear", "QuantizeLinear", "Cast"):
                return False
            name = node.input[0]
        return True

    def _weight_bits(self, name: str) -> int:
        """Return the bits of an integer weight behind a tensor; 0 for none, and for biases."""
        node = self.made_by.get(name)
        if node is None or node.op_type != "DequantizeLinear":
            return 0
        weight = self.constants.get(node.input[0])
        bits = _bits(weight.data_type) if weight is not None else 0
        return bits if bits <= 16 else 0  # a bias has 32  # noqa: PLR2004

    def _activation_bits(self, name: str) -> int:
        """Return the bits of the integers that a tensor is made from; 0 where it is float."""
        node = self.made_by.get(name)
        if node is None or node.op_type != "DequantizeLinear":
            return 0
        return self._stored_bits(node)

    def _stored_bits(self, node: onnx.NodeProto) -> int:
        """Return the bits on the integer side of a QuantizeLinear or DequantizeLinear."""
        if len(node.input) > 2 and node.input[2] in self.constants:  # noqa: PLR2004  # zero point
            return _bits(self.constants[node.input[2]].data_type)
        for attribute in node.attribute:
            if attribute.name == "output_dtype" and attribute.i:
                return _bits(attribute.i)
        source = self.made_by.get(node.input[0])
        if node.op_type == "DequantizeLinear" and source is not None:
            return self._stored_bits(source)
        return 8

    def _quantised_after(self, name: str) -> bool:
        """Say whether everything that reads a tensor takes it as integers."""
        readers = self.read_by.get(name, [])
        return bool(readers) and all(node.op_type == "QuantizeLinear" for node in readers)

    def _shape(self, name: str) -> tuple[int, ...]:
        while name not in self.constants:
            if self.shapes.get(name):
                return self.shapes[name]
            node = self.made_by.get(name)
            if node is None or node.op_type not in FREE - {"Constant", "Reshape"}:
                return ()
            name = node.input[0]
        return tuple(self.constants[name].dims)

    def macs(self, node: onnx.NodeProto) -> int:
        """Return the multiply-accumulates of a node for one window; unknown lengths count as 1."""
        kind = MULTIPLYING[node.op_type]
        at = 3 if kind.startswith("QLinear") else 1  # scale and zero point lie between
        given = math.prod(d or 1 for d in self._shape(node.output[0]))
        taken = self._shape(node.input[0])
        weight = self._shape(node.input[at])
        if kind.endswith("MatMul"):
            return given * ((taken[-1] or 1) if taken else 1)
        if kind == "Gemm":
            transposed = any(a.name == "transA" and a.i for a in node.attribute)
            return given * ((taken[0 if transposed else -1] or 1) if taken else 1)
        if kind == "ConvTranspose":
            return math.prod(d or 1 for d in taken) * math.prod(weight[1:])
        return given * math.prod(weight[1:])  # (out, in / groups, kernel…)

    def _bytes(self, name: str) -> int:
        """Return the bytes of a tensor at its width in memory."""
        count = math.prod(d or 1 for d in self._shape(name))
        node = self.made_by.get(name)
        if node is not None and node.op_type == "DequantizeLinear":
            stored = self.constants.get(node.input[0])
            bits = self._stored_bits(node) if stored is None else _bits(stored.data_type)
            return count * bits // 8
        for reader in self.read_by.get(name, ()):
            if reader.op_type == "QuantizeLinear":
                return count * self._stored_bits(reader) // 8
        stored = self.constants.get(name)
        return count * _bits(self.types.get(name, 1) if stored is None else stored.data_type) // 8


def _bits(elem_type: int) -> int:
    """Return the bits of one element of an ONNX type."""
    from onnx import TensorProto, helper

    if elem_type in (TensorProto.INT4, TensorProto.UINT4):
        return 4
    return int(helper.tensor_dtype_to_np_dtype(elem_type or TensorProto.FLOAT).itemsize) * 8
