"""Rounds weights so that the errors of a row's weights cancel each other in the layer's result.

Rounding every weight to the nearest step is best for inputs that are independent of each other.
Neighbouring samples of music, and channels behind a ReLU, depend on each other: there the next
weight can make up for the error of one. GPTQ (Frantar et al. 2022, "GPTQ:
Accurate Post-Training Quantization for Generative Pre-trained Transformers", algorithm 1; the rule
is that of Hassibi and Stork 1993, "Optimal Brain Surgeon") rounds one weight of all rows after the
other, and moves the weights not yet rounded so that E|ΔW·x|² stays least. It costs seconds, and the
graph computes as before.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from plugins.quantizer._onnx.calibration.patches import Moments
from plugins.quantizer._onnx.graph.products import Product
from plugins.quantizer._onnx.qdq.stored import Stored

if TYPE_CHECKING:
    import numpy as np
    import onnx
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

__all__ = ["round_weights", "rounded"]

#: Added to the diagonal of the moments, as a part of its mean: at least, and where there are
#: `ENOUGH` rows for each weight in a row. The fewer rows, the less their moments hold for others:
#: with 24 rows of 64 unrelated numbers 0.1 for K rows lost 1.8 dB to the nearest integers.
DAMPING, DAMPING_OF_FEW, ENOUGH = 0.01, 0.025, 4
#: Weights after which all later ones are moved at once, by a product of matrices.
BLOCK = 128
#: Rows that are rounded at once, which bounds the memory for them.
ROWS = 1024
#: Roundings that are kept per layer: `mixed` asks for the same few again and again.
REMEMBERED = 2


def round_weights(
    lowered: onnx.ModelProto, products: Sequence[Product], moments: Mapping[str, list[Moments]]
) -> int:
    """Round the weights of a quantised graph anew, in place; returns the number of layers.

    `products` are the layers of the float graph. Weights that several nodes read, and weights of
    more than 8 bits, stay.
    """
    import numpy as np

    stored = Stored(lowered)
    nodes = {node.name: node for node in lowered.graph.node}
    count = 0
    for product in products:
        node, known = nodes.get(product.node), moments.get(product.node)
        if node is None or known is None or not stored.own(node.input[1]):
            continue
        tensor = stored.integers(node.input[1])
        limits = None if tensor is None else _limits(tensor.data_type)
        if tensor is None or limits is None or tuple(tensor.dims) != product.weights.shape:
            continue
        if product.operator == "Gemm" and product.transposed != _transposed(node):
            continue
        grid = stored.grid(node.input[1])
        integers = np.zeros(product.weights.shape, np.int16)
        for part, own in zip(product.parts, known, strict=True):
            product.put(_fitted(product, part, own, grid, limits), integers, part)
        stored.put(node.input[1], integers)
        count += 1
    return count


def _fitted(
    product: Product,
    part: Sequence[slice],
    own: Moments,
    grid: tuple[Array, Array],
    limits: tuple[int, int],
) -> NDArray[np.int16]:
    """Return the integers of a part of a layer, (groups, output channels, K)."""
    import numpy as np

    scale, zero = (product.rows(values, part)[:, :, 0] for values in grid)
    key = scale.tobytes() + zero.tobytes() + bytes(str(limits), "ascii")
    if key not in own.rounded:
        while len(own.rounded) >= REMEMBERED:
            del own.rounded[next(iter(own.rounded))]
        weights = product.rows(product.weights.astype(np.float64), part)
        # A part that gave no row (all of it is cropped away) has no moments.
        known = own.moments if own.count else np.zeros((product.groups, 1, 1))
        groups = zip(weights, scale, zero, known, strict=True)
        own.rounded[key] = np.stack(
            [rounded(w, s, z, limits, moments, own.count) for w, s, z, moments in groups]
        ).astype(np.int16)
    return own.rounded[key]


def rounded(
    weights: Array,
    scale: Array,
    zero: Array,
    limits: tuple[int, int],
    moments: NDArray[np.floating[Any]],
    samples: int,
) -> Array:
    """Return the integers of `weights` (rows, K), given the `moments` (K, K) of `samples` inputs.

    `scale` and `zero` have one number per row. A row keeps the nearest integers where their error
    is smaller.
    """
    import numpy as np

    width = weights.shape[1]
    square = moments.astype(np.float64)
    mean = float(np.mean(np.diag(square)))
    nearest = np.clip(np.rint(weights / scale[:, None]) + zero[:, None], *limits)
    if not mean > 0 or not np.isfinite(square).all():
        return nearest
    square /= mean
    few = ENOUGH * width / samples
    damped = square + np.eye(width) * max(DAMPING, DAMPING_OF_FEW * few * max(few, 1.0))
    order = np.argsort(-np.diag(damped), kind="stable")
    upper = np.linalg.cholesky(np.linalg.inv(damped[order][:, order])).T
    for first in range(0, len(weights), ROWS):
        rows = slice(first, first + ROWS)
        given, each, at = weights[rows], scale[rows], zero[rows]
        chosen = np.empty_like(given)
        chosen[:, order] = _moved(given[:, order], each, at, limits, upper)
        better = _errors(given, chosen, each, at, damped) < _errors(
            given, nearest[rows], each, at, damped
        )
        nearest[rows][better] = chosen[better]
    return nearest


def _moved(left: Array, scale: Array, zero: Array, limits: tuple[int, int], upper: Array) -> Array:
    """Round one weight of all rows after the other; `left`, the weights, is moved in place."""
    import numpy as np

    width = left.shape[1]
    found, off = np.empty_like(left), np.empty_like(left)
    for start in range(0, width, BLOCK):
        end = min(start + BLOCK, width)
        for place in range(start, end):
            found[:, place] = np.clip(np.rint(left[:, place] / scale) + zero, *limits)
            wrong = left[:, place] - (found[:, place] - zero) * scale
            off[:, place] = wrong / upper[place, place]
            left[:, place + 1 : end] -= np.outer(off[:, place], upper[place, place + 1 : end])
        left[:, end:] -= off[:, start:end] @ upper[start:end, end:]
    return found


def _errors(weights: Array, integers: Array, scale: Array, zero: Array, square: Array) -> Array:
    """Return the mean squared error that rounding leaves in each row's result."""
    import numpy as np

    off = weights - (integers - zero[:, None]) * scale[:, None]
    return np.asarray(np.einsum("ij,ij->i", off @ square, off))


def _transposed(node: onnx.NodeProto) -> bool:
    return any(a.name == "transB" and a.i for a in node.attribute)


def _limits(kind: int) -> tuple[int, int] | None:
    """Return the least and greatest integer of weights of a type, None for one that is wide."""
    from onnx import TensorProto

    limits: dict[int, tuple[int, int]] = {
        TensorProto.INT4: (-8, 7),
        TensorProto.UINT4: (0, 15),
        TensorProto.INT8: (-128, 127),
        TensorProto.UINT8: (0, 255),
    }
    return limits.get(kind)
