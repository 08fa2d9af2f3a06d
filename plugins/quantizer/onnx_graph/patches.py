"""What the results of a layer are products of: patches of its input, as rows of numbers.

A convolution, a transposed one, a Gemm and a product with constants all multiply rows of K numbers
with their weights, one row for each place of the result. The second moments of such rows tell what
an error of the weights does to the result (`gptq.py`). Rows are drawn from random places of every
calibration window, inside the graph, so that no whole activation leaves it.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import onnx
    from numpy.typing import NDArray

    from core.values import Tensors

    Array = NDArray[np.float64]

__all__ = ["Moments", "Patches", "Product", "products_of"]

#: Rows that are drawn for a layer from all windows together: at least, and for each of its K.
ROWS, ROWS_PER_WEIGHT = 4096, 4
#: The longest rows whose moments are kept, and the memory of all moments together, in bytes.
LONGEST, MEMORY = 4096, 2**30
#: Values whose squares FP32 holds, and sums of them, are less than this, and more than 1 by it.
ORDINARY = 1e12
#: Places along the first axis that one window gives rows from.
FIRST = 16


@dataclass(frozen=True)
class Product:
    """A layer of a float graph with constant `weights`, which multiplies rows of its `tensor`.

    `kernel`, `strides`, `dilations` and `pads` are of the axes behind the channels, and empty for
    matrices. A transposed convolution has one part for each place between its strides: what it
    gives there is a product of weights of its own.
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
        """Return what belongs to a part of an `array` shaped as the weights.

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
        """Write `rows` of a part, as `rows` gave them, into `array`."""
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

        The result has shape (places, taps) and counts through the axes behind the channels; -1
        stands for padding.
        """
        import numpy as np

        found = np.zeros((count, 1), np.int64)
        inside = np.ones((count, 1), bool)
        for axis, length in enumerate(shape):
            step, taps = self.strides[axis], np.arange(self.lengths(part)[axis])
            before, after = self.pads[axis], self.pads[axis + len(self.kernel)]
            reach = self.dilations[axis] * (self.kernel[axis] - 1)
            if self.operator == "Conv":
                places = (length + before + after - reach - 1) // step + 1
                start = random.integers(0, max(places, 1), count) * step - before
                at = start[:, None] + taps * self.dilations[axis]
            else:
                # Place p of the whole result is the sum over inputs i and taps t with p = i·s + t.
                whole = (length - 1) * step + reach + 1
                first = part[axis].start
                turns = np.arange(
                    -(-(before - first) // step), (whole - after - 1 - first) // step + 1
                )
                at = random.choice(turns, count)[:, None] - taps
            found = (found[:, :, None] * length + np.clip(at, 0, length - 1)[:, None]).reshape(
                count, -1
            )
            inside = (inside[:, :, None] & ((at >= 0) & (at < length))[:, None]).reshape(count, -1)
        return np.where(inside, found, -1)


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
            tuple(given.get("pads", (0,) * 2 * axes)),
        )
        plain = given.get("auto_pad", b"NOTSET") in (b"NOTSET", b"VALID")
        dilated = node.op_type == "ConvTranspose" and set(product.dilations) != {1}
        if given.get("transA", 0) or not plain or dilated or (matrix and weights.ndim != 2):  # noqa: PLR2004
            continue
        found.append(product)
    return found


@dataclass
class Moments:
    """The sum of the products of rows with themselves, (groups, K, K), and how many rows.

    `rounded` keeps the weights that came of them, by what they were rounded to.
    """

    total: NDArray[Any] | float = 0.0
    count: int = 0
    rounded: dict[bytes, Array] = field(default_factory=dict)

    @property
    def moments(self) -> NDArray[np.float64]:
        """Return the second moments, (groups, K, K)."""
        import numpy as np

        return np.asarray(self.total, np.float64) / max(1, self.count)

    def add(self, rows: NDArray[Any]) -> None:
        """Take rows of shape (groups, count, K)."""
        import numpy as np

        peak = float(np.abs(rows).max(initial=0.0))
        if peak and not 1 / ORDINARY < peak < ORDINARY:  # their squares pass FP32
            rows = rows.astype(np.float64)
        self.total = self.total + np.matmul(rows.transpose(0, 2, 1), rows)
        self.count += rows.shape[1]


@dataclass
class Patches:
    """Draws rows from the windows that a graph runs; `moments` has them by node, part by part."""

    products: Sequence[Product]
    windows: int
    moments: dict[str, list[Moments]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Draw the same places whenever the same windows come."""
        import numpy as np

        self._random = np.random.default_rng(0)
        self._shapes: dict[str, tuple[int, ...]] = {}
        self._drawn: dict[str, list[NDArray[np.int64]]] = {}
        self._lengths: dict[str, tuple[int, ...]] = {}
        self._alike = True

    def attach(self, model: onnx.ModelProto, shapes: Mapping[str, tuple[int, ...]]) -> None:
        """Add outputs with rows to `model`, in place; places are further inputs.

        Layers of unknown shapes, of empty ones and of rows too long are left out, and those with
        the longest rows where the moments of all would take too much memory.
        """
        from onnx import TensorProto, helper

        self._shapes = {p.node: shapes[p.tensor] for p in self._affordable(shapes)}
        extra: dict[str, list[onnx.NodeProto]] = {}
        graph = model.graph
        for product in self.products:
            if product.node not in self._shapes:
                continue
            name = f"{product.node}:rows"
            shape, axis = ([-1, product.width(())], 0) if not product.kernel else ([0, 0, -1], 2)
            chain = [_constant(graph, f"{name}:shape", shape)]
            nodes = [helper.make_node("Reshape", [product.tensor, chain[0]], [f"{name}:flat"])]
            read = f"{name}:flat"
            if product.kernel:
                nodes.append(helper.make_node("Gather", [read, f"{name}:first"], [f"{name}:some"]))
                read = f"{name}:some"
            nodes.append(helper.make_node("Gather", [read, f"{name}:sites"], [name], axis=axis))
            extra.setdefault(product.tensor, []).extend(nodes)
            graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, None))
            for ending in ("first", "sites") if product.kernel else ("sites",):
                value = helper.make_tensor_value_info(f"{name}:{ending}", TensorProto.INT64, [None])
                graph.input.append(value)
        _insert(graph, extra)

    def _affordable(self, shapes: Mapping[str, tuple[int, ...]]) -> Iterator[Product]:
        """Yield the layers whose moments are kept, those with short rows first."""
        widths = {p.node: max(p.width(part) for part in p.parts) for p in self.products}
        left = MEMORY
        for product in sorted(self.products, key=lambda product: widths[product.node]):
            shape = shapes.get(product.tensor)
            size = sum(4 * product.groups * product.width(part) ** 2 for part in product.parts)
            ranks = not product.kernel or (shape and len(shape) == len(product.kernel) + 2)
            if not shape or not math.prod(shape) or not ranks or widths[product.node] > LONGEST:
                continue
            if size <= left:
                left -= size
                yield product

    def draw(self, feeds: Tensors) -> dict[str, NDArray[np.int64]]:
        """Return the places of the next window, which the graph takes as inputs.

        Only windows of the first one's lengths are drawn from: places for these may lie outside
        others, which give their first rows, to no use.
        """
        import numpy as np

        lengths = {name: values.shape for name, values in feeds.items()}
        self._lengths = self._lengths or lengths
        self._alike = lengths == self._lengths
        places = self._places()
        return places if self._alike else dict.fromkeys(places, np.zeros(1, np.int64))

    def _places(self) -> dict[str, NDArray[np.int64]]:
        """Return places for the shapes that the graph was probed with."""
        import numpy as np

        found: dict[str, NDArray[np.int64]] = {}
        for product in self.products:
            shape = self._shapes.get(product.node)
            if shape is None:
                continue
            name = f"{product.node}:rows"
            parts = product.parts
            wanted = max(ROWS, ROWS_PER_WEIGHT * max(product.width(part) for part in parts))
            count = -(-wanted // max(1, self.windows))
            if not product.kernel:
                rows = math.prod(shape) // product.width(())
                found[f"{name}:sites"] = self._random.integers(0, rows, min(count, rows))
                continue
            first = min(shape[0], FIRST)
            found[f"{name}:first"] = self._random.choice(shape[0], first, replace=False)
            each = -(-count // (first * len(parts)))
            sites = [product.sites(part, shape[2:], each, self._random) for part in parts]
            self._drawn[product.node] = sites
            found[f"{name}:sites"] = np.maximum(np.concatenate([s.ravel() for s in sites]), 0)
        return found

    def take(self, found: Mapping[str, NDArray[Any]]) -> None:
        """Add what the graph gave for the places drawn."""
        import numpy as np

        if not self._alike:
            return
        for product in self.products:
            if product.node not in self._shapes:
                continue
            values = found[f"{product.node}:rows"]
            if not np.isfinite(values).all():
                continue
            moments = self.moments.setdefault(product.node, [Moments() for _ in product.parts])
            if not product.kernel:
                moments[0].add(values[None])
                continue
            drawn = self._drawn[product.node]
            ends = np.cumsum([sites.size for sites in drawn])[:-1]
            for sites, own, piece in zip(
                drawn, moments, np.split(values, ends, axis=2), strict=True
            ):
                rows = piece * (sites.ravel() >= 0)
                rows = rows.reshape(len(rows), product.groups, -1, *sites.shape)
                rows = rows.transpose(1, 0, 3, 2, 4).reshape(
                    product.groups, len(rows) * len(sites), -1
                )
                own.add(rows)


def _constant(graph: onnx.GraphProto, name: str, values: Sequence[int]) -> str:
    import numpy as np
    from onnx import numpy_helper

    graph.initializer.append(numpy_helper.from_array(np.array(values, np.int64), name))
    return name


def _insert(graph: onnx.GraphProto, extra: Mapping[str, Sequence[onnx.NodeProto]]) -> None:
    """Put nodes right behind what makes the tensor that they read, to hold it no longer."""
    nodes = list(graph.node)
    del graph.node[:]
    for value in graph.input:
        graph.node.extend(extra.get(value.name, ()))
    for node in nodes:
        graph.node.append(node)
        for name in node.output:
            graph.node.extend(extra.get(name, ()))
