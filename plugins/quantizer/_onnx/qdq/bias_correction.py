"""Removes from biases the error that the rounding of weights adds to them on average.

A layer whose weights W became Q gives y + (Q - W)·x. Where x has a mean, as it has behind every
ReLU and GELU, that error has one too, the same at every place of a channel; a norm behind the
layer may make it many times as large. Its expectation over the calibration data is known, and a
bias cancels it: Nagel et al. 2019, "Data-free quantization through weight equalization and bias
correction", section 4.2, with measured means. On 24 excerpts of real music the bundled model at
`w8a16` had 32.2 dB in the worst and 40.2 dB on median without, 37.9 and 40.8 dB with it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from plugins.quantizer._onnx.qdq.stored import Stored

if TYPE_CHECKING:
    import numpy as np
    import onnx
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

__all__ = ["OPERATORS", "Layer", "correct", "layers_of"]

#: Operators with a weight and a bias, and the axis of their input along which channels lie.
OPERATORS = {"Conv": 1, "ConvTranspose": 1, "Gemm": 1}


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
        if node.op_type not in OPERATORS or len(node.input) < 3 or not node.input[2] or more:  # noqa: PLR2004
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


def correct(lowered: onnx.ModelProto, layers: list[Layer], means: Mapping[str, Array]) -> int:
    """Correct the biases of a quantised graph in place; returns how many.

    `layers` are those of the float graph, `means` the mean of every channel that they read. A bias
    that others share, or that would exceed 32 bits, stays.
    """
    import numpy as np

    stored = Stored(lowered)
    nodes = {node.name: node for node in lowered.graph.node if node.op_type in OPERATORS}
    count = 0
    for layer in layers:
        node, mean = nodes.get(layer.node), means.get(layer.tensor)
        if node is None or mean is None or not np.isfinite(mean).all():
            continue
        integers = stored.integers(node.input[1])
        if integers is None or tuple(integers.dims) != layer.weights.shape:
            continue
        error = layer.weights.astype(np.float64) - stored.values(node.input[1])
        count += stored.shift(node.input[2], layer.mean_error(error, mean))
    return count
