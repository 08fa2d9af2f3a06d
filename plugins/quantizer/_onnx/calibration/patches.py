"""Draws the rows that layers multiply with their weights, and keeps the rows' second moments.

The moments tell what a weight's error does to the result (`qdq/gptq.py`). Rows are drawn from
random places of every calibration window, inside the graph, so that no whole activation leaves it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from core import Tensors

if TYPE_CHECKING:
    import numpy as np
    import onnx
    from numpy.typing import NDArray

    from plugins.quantizer._onnx.graph.products import Product

__all__ = ["Moments", "Patches"]

#: Rows that are drawn for a layer from all windows together: at least, and per number of a row.
ROWS, ROWS_PER_WEIGHT = 4096, 4
#: The longest rows whose moments are kept, and the memory of all moments together, in bytes.
LONGEST, MEMORY = 4096, 2**30
#: FP32 holds the squares, and sums of them, of values below this and above its inverse.
ORDINARY = 1e12
#: Places along the first axis that one window gives rows from.
FIRST = 16


@dataclass
class Moments:
    """The sum of the products of rows with themselves, (groups, K, K), and how many rows.

    `rounded` caches the weights that were rounded with them, by the grid they were rounded to.
    """

    total: NDArray[Any] | float = 0.0
    count: int = 0
    rounded: dict[bytes, NDArray[np.int16]] = field(default_factory=dict)

    @property
    def moments(self) -> NDArray[np.float64]:
        """Return the second moments, (groups, K, K)."""
        import numpy as np

        return np.asarray(self.total, np.float64) / max(1, self.count)

    def add(self, rows: NDArray[Any]) -> None:
        """Add rows of shape (groups, count, K)."""
        import numpy as np

        peak = float(np.abs(rows).max(initial=0.0))
        if peak and not 1 / ORDINARY < peak < ORDINARY:  # their squares pass FP32
            rows = rows.astype(np.float64)
        self.total = self.total + np.matmul(rows.transpose(0, 2, 1), rows)
        self.count += rows.shape[1]


@dataclass
class Patches:
    """Draws rows from the windows that a graph runs; `moments` has theirs by node, part by part."""

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

        Layers of unknown or empty shapes, or with too long rows, are left out, and those with the
        longest rows where the moments of all would take too much memory.
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

        Rows are drawn only from windows of the first one's lengths, because the places may lie
        outside of others; those give their first rows, which are not used.
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
        """Add the rows that the graph gave for the drawn places."""
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
                if not sites.size:
                    continue
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
    """Insert nodes right behind the node whose tensor they read, so that it is freed early."""
    nodes = list(graph.node)
    del graph.node[:]
    for value in graph.input:
        graph.node.extend(extra.get(value.name, ()))
    for node in nodes:
        graph.node.append(node)
        for name in node.output:
            graph.node.extend(extra.get(name, ()))
