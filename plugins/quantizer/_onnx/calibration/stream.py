"""Runs a graph window by window and keeps the extremes and histograms of its tensors."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from core import Tensors
from core.formats.onnx_graph import inferred, save
from core.formats.onnx_session import session_options
from plugins.quantizer._onnx.calibration.endless import check_outputs
from plugins.quantizer._onnx.calibration.histogram import Histogram
from plugins.quantizer._onnx.calibration.patches import Moments, Patches
from plugins.quantizer._onnx.calibration.probes import (
    LEAST,
    MEAN,
    MOST,
    SAMPLE,
    around,
    probed,
    same_values,
    shapes_of,
)
from plugins.quantizer._onnx.graph.biased import CHANNELS, layers_of
from plugins.quantizer._onnx.graph.constants import failures
from plugins.quantizer._onnx.graph.feeding import fitting, refused
from plugins.quantizer._onnx.graph.products import products_of

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from plugins.quantizer._onnx.calibration.choose import Range

__all__ = ["Stream"]

#: Values of one tensor that a histogram gets from all windows together, evenly taken from each.
VALUES = 2**20


class Stream:
    """The extremes, histograms and means of every tensor over the windows taken so far."""

    def __init__(self, model: Path, operators: Sequence[str]) -> None:
        self._path, self._operators = model, operators
        self._session: Any = None
        self._probes: list[str] = []
        self._outputs: list[str] = []
        self._copies: dict[str, str] = {}
        self.extremes: dict[str, Range] = {}
        self._endless: set[str] = set()
        self.histograms: dict[str, Histogram] = {}
        self._means: dict[str, int] = {}
        self._totals: dict[str, Any] = {}
        self._windows = 0
        self._inputs: set[str] = set()
        self.example: Tensors = {}
        self._patches = Patches((), 0)

    def take(self, feeds: Tensors, index: int, total: int) -> None:
        """Run one window and update the extremes and histograms with it."""
        import numpy as np

        if self._session is None:
            self._open(feeds, total)
        names = [output.name for output in self._session.get_outputs()]
        inputs = [given for given in self._session.get_inputs() if given.name in self._inputs]
        given = fitting(inputs, feeds, index)
        try:
            results = self._session.run(names, {**given, **self._patches.draw(given)})
            found = dict(zip(names, results, strict=True))
        except failures() as error:
            raise refused(f"run the graph on calibration window {index}", error) from error
        # The extremes show an infinity, but a NaN only where it comes first (ONNX Runtime 1.31.1).
        for name in self._outputs:
            values = found[name]
            floating = isinstance(values, np.ndarray) and values.dtype.kind == "f"
            if floating and not np.isfinite(values).all():
                check_outputs(self._path, given)
        for name in self._probes:
            finite = self._widen(name, float(found[name + LEAST]), float(found[name + MOST]))
            if finite:
                self.histograms.setdefault(name, Histogram()).add(found[name + SAMPLE])
        self._windows += 1
        self._patches.take(found)
        if index == max(1, total // 2):
            self.example = given
        for name in self._means:
            if name + MEAN in found:
                mean = found[name + MEAN].astype(np.float64)
                self._totals[name] = self._totals.get(name, 0.0) + mean

    def everywhere(self, ranges: dict[str, Range]) -> dict[str, Range]:
        """Return `ranges` with those of the tensors that only rearrange the values of others."""
        copies = {n: ranges[source] for n, source in self._copies.items() if source in ranges}
        return ranges | copies

    @property
    def means(self) -> dict[str, NDArray[np.float64]]:
        """Return the mean of every channel that layers read, of shape (channels,)."""
        return {name: total / self._windows for name, total in self._totals.items()}

    @property
    def moments(self) -> dict[str, list[Moments]]:
        """Return the moments of the rows that weights are multiplied with, by node."""
        return self._patches.moments

    @property
    def endless(self) -> set[str]:
        """Return the tensors that held an infinity, which have no range."""
        return self._endless | {n for n, source in self._copies.items() if source in self._endless}

    def _widen(self, name: str, least: float, most: float) -> bool:
        """Widen the extremes of a tensor; returns whether it has a range."""
        import numpy as np

        if name not in self._endless and np.isfinite([least, most]).all():
            before = self.extremes.get(name, (least, most))
            self.extremes[name] = min(least, before[0]), max(most, before[1])
            return True
        self._endless.add(name)
        self.extremes.pop(name, None)
        self.histograms.pop(name, None)
        return False

    def _open(self, feeds: Tensors, total: int) -> None:
        """Open the graph with probes of every tensor around the operators."""
        import onnxruntime

        model = inferred(self._path)
        wanted = around(model, set(self._operators))
        sources = same_values(model)
        self._copies = {name: sources[name] for name in wanted if name in sources}
        shapes = shapes_of(model, feeds)
        counts = {name: math.prod(shape) for name, shape in shapes.items()}
        probes = dict.fromkeys(sources.get(name, name) for name in wanted)
        # An empty tensor, say the past of a model that begins, has no extremes.
        self.extremes |= {name: (0.0, 0.0) for name in probes if counts.get(name) == 0}
        self._probes = [name for name in probes if counts.get(name) != 0]
        self._outputs = [value.name for value in model.graph.output]
        samples = -(-VALUES // max(1, total))
        self._means = {layer.tensor: CHANNELS[layer.operator] for layer in layers_of(model)}
        probed(model, self._probes, counts, samples, self._means)
        self._inputs = {value.name for value in model.graph.input}
        self._patches = Patches(products_of(model), total)
        self._patches.attach(model, shapes)
        target = self._path.with_name("probed.onnx")
        save(model, target)
        del model
        options = session_options()
        # Node after node as the graph lists them. By default ONNX Runtime starts from the last
        # node and leaves every probe for later, with the activation that it reads.
        options.execution_order = onnxruntime.ExecutionOrder.PRIORITY_BASED
        try:
            self._session = onnxruntime.InferenceSession(
                str(target), options, providers=["CPUExecutionProvider"]
            )
        except failures() as error:
            raise refused("open the graph", error) from error
