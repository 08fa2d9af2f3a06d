"""Finds products whose sums of 8-bit integers may exceed the 32 bits that hold them."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import onnx
    from numpy.typing import NDArray

__all__ = ["overflowing_sums"]

#: The largest sum, and the largest activation and weight of 8 bits.
LARGEST, LEVELS = 2**31 - 1, 255


def overflowing_sums(model: onnx.ModelProto, operators: Collection[str]) -> dict[str, int]:
    """Return the nodes of `operators` that can overflow, by name, with how many terms they sum.

    Weights are known, activations may be anything: a sum is largest where these are greatest for
    all weights of one sign and zero for the others. `operators` are of Conv, Gemm and MatMul.
    """
    import numpy as np
    from onnx import TensorProto, numpy_helper

    tensors = {t.name: t for t in model.graph.initializer if t.data_type == TensorProto.FLOAT}
    found = {}
    for node in model.graph.node:
        if node.op_type not in operators or node.input[1] not in tensors:
            continue
        # No sum has more terms than there are weights: a shortcut for nearly every network.
        if np.prod(tensors[node.input[1]].dims) * LEVELS**2 <= LARGEST:
            continue
        terms = _terms(node, numpy_helper.to_array(tensors[node.input[1]]))
        if len(terms) * LEVELS**2 > LARGEST and _largest(terms) > LARGEST:
            found[node.name] = len(terms)
    return found


def _terms(node: onnx.NodeProto, weights: NDArray[Any]) -> NDArray[Any]:
    """Return weights with the summed terms along the first axis, of shape (terms, sums)."""
    import numpy as np

    by_row = any(a.name == "transB" and a.i for a in node.attribute)
    if node.op_type == "Conv" or by_row:
        return weights.reshape(weights.shape[0], -1).T
    if weights.ndim == 1:
        return weights[:, None]
    return np.moveaxis(weights, -2, 0).reshape(weights.shape[-2], -1)


def _largest(terms: NDArray[Any]) -> float:
    """Return the largest sum of integers, with a scale for each sum."""
    import numpy as np

    positive = np.maximum(terms, 0).sum(0, dtype=np.float64)
    negative = np.maximum(-terms, 0).sum(0, dtype=np.float64)
    reach = np.maximum(terms.max(0), 0) - np.minimum(terms.min(0), 0)
    sums = np.maximum(positive, negative) / np.where(reach > 0, reach, np.inf)
    return float(sums.max(initial=0.0)) * LEVELS**2
