"""The layers of a float graph that have constant weights and a bias."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import onnx
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

__all__ = ["CHANNELS", "Layer", "layers_of"]

#: Operators with a weight and a bias, and the axis of their input along which channels lie.
CHANNELS = {"Conv": 1, "ConvTranspose": 1, "Gemm": 1}


@dataclass(frozen=True)
class Layer:
    """A layer of a float graph: the tensor that it reads, and its weights as the graph has them.

    `transposed` is a Gemm's transB.
    """

    node: str
    operator: str
    tensor: str
    weights: NDArray[np.float32]
    groups: int
    places: float
    transposed: bool

    def mean_error(self, error: Array, mean: Array) -> Array:
        """Return the mean error of every output channel for an `error` of the weights.

        `mean` is that of every input channel. A transposed convolution gives each place of its
        output one of every `places` taps. Padding, which sees fewer taps, is ignored.
        """
        import numpy as np

        taps = error.reshape(*error.shape[:2], -1).sum(-1) / self.places
        if self.operator == "Gemm":
            return np.asarray(taps @ mean if self.transposed else mean @ taps, np.float64)
        # The first axis holds the inputs in a transposed convolution, the outputs in others.
        parts = zip(np.split(mean, self.groups), np.split(taps, self.groups), strict=True)
        if self.operator == "ConvTranspose":
            return np.concatenate([part @ own for part, own in parts])
        return np.concatenate([own @ part for part, own in parts])


def layers_of(model: onnx.ModelProto) -> list[Layer]:
    """Return the layers with constant weights and a bias, except a Gemm that computes more."""
    from onnx import TensorProto, helper, numpy_helper

    constants = {t.name: t for t in model.graph.initializer if t.data_type == TensorProto.FLOAT}
    found = []
    for node in model.graph.node:
        given = {a.name: helper.get_attribute_value(a) for a in node.attribute}
        more = given.get("transA", 0) or {given.get(n, 1.0) for n in ("alpha", "beta")} != {1.0}
        if node.op_type not in CHANNELS or len(node.input) < 3 or not node.input[2] or more:  # noqa: PLR2004
            continue
        weights = constants.get(node.input[1])
        if weights is not None:
            strides = given.get("strides", [1])
            found.append(
                Layer(
                    node.name,
                    node.op_type,
                    node.input[0],
                    numpy_helper.to_array(weights),
                    given.get("group", 1),
                    math.prod(strides) if node.op_type == "ConvTranspose" else 1,
                    bool(given.get("transB", 0)),
                )
            )
    return found
