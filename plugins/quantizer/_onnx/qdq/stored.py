"""The constants of a quantised graph: weights on their grid of steps, and biases that may move."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from plugins.quantizer._onnx.graph.operands import captured

if TYPE_CHECKING:
    import numpy as np
    import onnx
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

__all__ = ["Stored"]


class Stored:
    """The constants of `model`, to be read and changed in place."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self._constants = {tensor.name: tensor for tensor in model.graph.initializer}
        self._restored = {
            node.output[0]: node
            for node in model.graph.node
            if node.op_type == "DequantizeLinear" and node.input[0] in self._constants
        }
        self._readers = Counter(name for node in model.graph.node for name in node.input)
        self._readers.update(captured(model))
        self._readers.update(value.name for value in model.graph.output)

    def integers(self, name: str) -> onnx.TensorProto | None:
        """Return the constant that a `DequantizeLinear` restores as the tensor `name`."""
        node = self._restored.get(name)
        return None if node is None else self._constants[node.input[0]]

    def own(self, name: str) -> bool:
        """Return whether one node alone reads the tensor `name`, and the constant behind it.

        A graph inside of a node, and an output of the graph, are readers as well.
        """
        node = self._restored.get(name)
        behind = node.input[0] if node else name
        return self._readers[name] == self._readers[behind] == 1

    def grid(self, name: str) -> tuple[Array, Array]:
        """Return the scale and the zero point of every integer behind the tensor `name`."""
        import numpy as np

        node = self._restored[name]
        shape = tuple(self._constants[node.input[0]].dims)
        axis = next((a.i for a in node.attribute if a.name == "axis"), 1)
        given = [self._array(entry).astype(np.float64) for entry in node.input[1:]]
        if len(given) == 1:
            given.append(np.zeros_like(given[0]))
        ranked = [-1 if place == axis % max(len(shape), 1) else 1 for place in range(len(shape))]
        scale, zero = (
            np.broadcast_to(values.reshape(ranked) if values.size > 1 else values, shape)
            for values in given
        )
        return scale, zero

    def values(self, name: str) -> Array:
        """Return the values that the integers behind the tensor `name` stand for."""
        import numpy as np

        scale, zero = self.grid(name)
        integers = self._array(self._restored[name].input[0]).astype(np.float64)
        return np.asarray((integers - zero) * scale, np.float64)

    def put(self, name: str, integers: NDArray[Any]) -> None:
        """Replace the integers behind the tensor `name`."""
        import numpy as np
        from onnx import helper

        tensor = self.integers(name)
        assert tensor is not None
        kind = helper.tensor_dtype_to_np_dtype(tensor.data_type)
        self._replace(tensor.name, integers.astype(np.int64).astype(kind))

    def shift(self, bias: str, by: Array) -> bool:
        """Add `by`, in the units of the signal, to a bias; returns whether it could.

        It cannot where others read the bias as well, where it is no constant, and where an integer
        would exceed its type.
        """
        import numpy as np

        node = self._restored.get(bias)
        stored = bias if node is None else node.input[0]
        if stored not in self._constants or not self.own(bias):
            return False
        old = self._array(stored)
        by = by.reshape(old.shape)
        if node is None:
            self._replace(stored, (old + by).astype(old.dtype))
            return True
        steps = np.round(old + by / self.grid(bias)[0])
        if (np.abs(steps) > np.iinfo(old.dtype).max).any():
            return False
        self._replace(stored, steps.astype(old.dtype))
        return True

    def _array(self, name: str) -> NDArray[Any]:
        from onnx import numpy_helper

        return numpy_helper.to_array(self._constants[name])

    def _replace(self, name: str, values: NDArray[Any]) -> None:
        from onnx import numpy_helper

        self._constants[name].CopyFrom(numpy_helper.from_array(values, name))
