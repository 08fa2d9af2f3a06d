"""The layers with constant weights, each as products of rows of its input with those weights.

A convolution, a transposed one, a Gemm and a product with constants all multiply rows of K numbers
with their weights, one row for each place of the result.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import onnx
    from numpy.typing import NDArray

__all__ = ["Product", "products_of"]


@dataclass(frozen=True)
class Product:
    """A layer of a float graph with constant `weights`, which multiplies rows of its `tensor`.

    `kernel`, `strides`, `dilations` and `pads` are of the axes behind the channels, and empty for
    matrices. A transposed convolution has one part for each place between its strides: the result
    there is a product of weights of its own.
    """

    node: str
    operator: str
    tensor: str
    weights: NDArray[np.float32]
    groups: int
    transposed: bool
    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    pads: tuple[int, ...]

    @property
    def parts(self) -> list[tuple[slice, ...]]:
        """Return the taps of the kernel that each part multiplies with."""
        if self.operator != "ConvTranspose":
            return [(slice(None),) * len(self.kernel)]
        starts = itertools.product(*(range(step) for step in self.strides))
        axes = [(start, self.strides, self.kernel) for start in starts]
        return [
            tuple(slice(s, None, step) for s, step in zip(start, steps, strict=True))
            for start, steps, kernel in axes
            if all(s < length for s, length in zip(start, kernel, strict=True))
        ]

    def lengths(self, part: Sequence[slice]) -> list[int]:
        """Return how many taps a part has along each axis."""
        return [len(range(*taps.indices(n))) for taps, n in zip(part, self.kernel, strict=True)]

    def rows(self, array: NDArray[Any], part: Sequence[slice]) -> NDArray[Any]:
        """Return the rows of an `array`, shaped as the weights, that belong to a part.

        Its shape is (groups, output channels, K).
        """
        import numpy as np

        if self.operator in ("Gemm", "MatMul"):
            return (array if self.transposed else array.T)[None]
        split = array.reshape(self.groups, -1, *array.shape[1:])
        if self.operator == "ConvTranspose":
            split = np.moveaxis(split[:, :, :, *part], 2, 1)
        return split.reshape(*split.shape[:2], -1)

    def put(self, rows: NDArray[Any], array: NDArray[Any], part: Sequence[slice]) -> None:
        """Write `rows` of a part, as the method `rows` returned them, into `array`."""
        import numpy as np

        if self.operator in ("Gemm", "MatMul"):
            array[...] = rows[0] if self.transposed else rows[0].T
        elif self.operator == "Conv":
            array[...] = rows.reshape(array.shape)
        else:
            split = array.reshape(self.groups, -1, *array.shape[1:])[:, :, :, *part]
            shape = split.shape[0], split.shape[2], split.shape[1], *split.shape[3:]
            split[...] = np.moveaxis(rows.reshape(shape), 1, 2)

    def width(self, part: Sequence[slice]) -> int:
        """Return K, the length of a part's rows."""
        if self.operator in ("Gemm", "MatMul"):
            return int(self.weights.shape[1 if self.transposed else 0])
        if self.operator == "Conv":
            return int(math.prod(self.weights.shape[1:]))
        return int(self.weights.shape[0]) // self.groups * math.prod(self.lengths(part))

    def sites(
        self, part: Sequence[slice], shape: Sequence[int], count: int, random: np.random.Generator
    ) -> NDArray[np.int64]:
        """Return where the rows of `count` places of the result lie in an input of `shape`.

        They are all places where there are no more. The result has shape (places, taps) and counts
        through the axes behind the channels; -1 stands for padding.
        """
        import numpy as np

        starts = [self._starts(part, axis, length) for axis, length in enumerate(shape)]
        total = math.prod(len(of_axis) for of_axis in starts)
        if not total:  # all results of this part are cropped away
            return np.empty((0, math.prod(self.lengths(part))), np.int64)
        chosen = np.arange(total) if total <= count else random.integers(0, total, count)
        places = np.unravel_index(chosen, [len(of_axis) for of_axis in starts])
        found = np.zeros((len(chosen), 1), np.int64)
        inside = np.ones((len(chosen), 1), bool)
        for axis, length in enumerate(shape):
            taps = np.arange(self.lengths(part)[axis])
            taps = taps * self.dilations[axis] if self.operator == "Conv" else -taps
            at = starts[axis][places[axis]][:, None] + taps
            width = found.shape[1] * len(taps)
            clipped = np.clip(at, 0, length - 1)
            found = (found[:, :, None] * length + clipped[:, None]).reshape(len(chosen), width)
            known = (at >= 0) & (at < length)
            inside = (inside[:, :, None] & known[:, None]).reshape(len(chosen), width)
        return np.where(inside, found, -1)

    def _starts(self, part: Sequence[slice], axis: int, length: int) -> NDArray[np.int64]:
        """Return where in an input of `length` the first tap of each place of the result lies."""
        import numpy as np

        step, before = self.strides[axis], self.pads[axis]
        after = self.pads[axis + len(self.kernel)]
        reach = self.dilations[axis] * (self.kernel[axis] - 1)
        if self.operator == "Conv":
            places = (length + before + after - reach - 1) // step + 1
            return np.arange(max(places, 0)) * step - before
        # Place p of the whole result is the sum over inputs i and taps t with p = i·s + t.
        whole, first = (length - 1) * step + reach + 1, part[axis].start
        return np.arange(-(-(before - first) // step), (whole - after - 1 - first) // step + 1)


def products_of(model: onnx.ModelProto) -> list[Product]:
    """Return the layers with constant weights that multiply rows."""
    from onnx import TensorProto, helper, numpy_helper

    constants = {t.name: t for t in model.graph.initializer if t.data_type == TensorProto.FLOAT}
    found = []
    for node in model.graph.node:
        if node.op_type not in ("Conv", "ConvTranspose", "Gemm", "MatMul"):
            continue
        if node.input[1] not in constants or node.input[0] in constants or not node.name:
            continue
        given = {a.name: helper.get_attribute_value(a) for a in node.attribute}
        weights = numpy_helper.to_array(constants[node.input[1]])
        matrix = node.op_type in ("Gemm", "MatMul")
        axes = 0 if matrix else weights.ndim - 2
        product = Product(
            node.name,
            node.op_type,
            node.input[0],
            weights,
            given.get("group", 1),
            bool(given.get("transB", 0)),
            tuple(weights.shape[2:]) if axes else (),
            tuple(given.get("strides", (1,) * axes)),
            tuple(given.get("dilations", (1,) * axes)),
            _cropped(given, axes),
        )
        plain = given.get("auto_pad", b"NOTSET") in (b"NOTSET", b"VALID")
        dilated = node.op_type == "ConvTranspose" and set(product.dilations) != {1}
        plain = plain and "output_shape" not in given  # pads follow from it, by a rule of its own
        if given.get("transA", 0) or not plain or dilated or (matrix and weights.ndim != 2):  # noqa: PLR2004
            continue
        found.append(product)
    return found


def _cropped(given: Mapping[str, Any], axes: int) -> tuple[int, ...]:
    """Return the pads; the `output_padding` of a transposed convolution reduces the end ones."""
    pads = list(given.get("pads", (0,) * 2 * axes))
    for axis, more in enumerate(given.get("output_padding", ())):
        pads[axes + axis] -= more
    return tuple(pads)
