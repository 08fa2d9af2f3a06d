"""Writes an ONNX graph node by node: every call adds a node and returns the name of its result."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from core.formats.onnx_graph import save

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["IR_VERSION", "OPSET", "Nodes"]

#: Old enough for every ONNX Runtime since 1.13 (2022), also where an app ships its own.
OPSET, IR_VERSION = 17, 8

#: A length per axis, by the name of a tensor; `()` is a single number.
Shapes = Mapping[str, Sequence[int]]


class Nodes:
    """A float32 graph of fixed shapes that grows by calls."""

    def __init__(self) -> None:
        self._nodes: list[onnx.NodeProto] = []
        self._constants: dict[str, onnx.TensorProto] = {}

    def add(self, operator: str, *inputs: str, name: str = "", **attributes: Any) -> str:
        """Add a node; its result is called `name`, or by the operator and a number."""
        name = name or f"{operator}_{len(self._nodes)}"
        self._nodes.append(
            helper.make_node(operator, [*inputs], [name], name=f"/{name}", **attributes)
        )
        return name

    def constant(self, name: str, value: NDArray[Any]) -> str:
        """Add a constant once; a second call with its name returns the first."""
        if name not in self._constants:
            self._constants[name] = numpy_helper.from_array(np.array(value, order="C"), name)
        return name

    def number(self, value: float) -> str:
        """Return a float32 constant of one number."""
        return self.constant(f"number {value!r}", np.array(value, np.float32))

    def whole(self, *values: int) -> str:
        """Return an int64 vector, which is how operators take shapes and positions."""
        return self.constant(f"whole {values}", np.array(values, np.int64))

    def reshape(self, x: str, *shape: int) -> str:
        """Return `x` in another shape."""
        return self.add("Reshape", x, self.whole(*shape))

    def cut(self, x: str, axis: int, start: int, stop: int) -> str:
        """Return `x[start:stop]` along `axis`."""
        where = (self.whole(start), self.whole(stop), self.whole(axis))
        return self.add("Slice", x, *where)

    def pad(self, x: str, axes: int, axis: int, widths: tuple[int, int], mode: str) -> str:
        """Pad `axis` of a tensor of `axes` axes; a pad of nothing adds no node."""
        if not any(widths):
            return x
        pads = [0] * (2 * axes)
        pads[axis], pads[axes + axis] = widths
        return self.add("Pad", x, self.whole(*pads), mode=mode)

    def write(self, path: Path, name: str, inputs: Shapes, outputs: Shapes) -> Path:
        """Check the graph, shapes included, and write it; returns `path`."""
        graph = helper.make_graph(
            self._nodes,
            name,
            [_value(n, shape) for n, shape in inputs.items()],
            [_value(n, shape) for n, shape in outputs.items()],
            [*self._constants.values()],
        )
        model = helper.make_model(
            graph,
            producer_name="luthier",
            ir_version=IR_VERSION,
            opset_imports=[helper.make_opsetid("", OPSET)],
        )
        onnx.checker.check_model(model, full_check=True)
        save(model, path)
        return path


def _value(name: str, shape: Sequence[int]) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [*shape])
