"""Runs a graph window by window and keeps what its tensors show: extremes and histograms."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from core import InputError, StageError
from core.onnx_cpu import session_options
from core.onnx_file import inferred, save
from plugins.quantizer.onnx_graph.histogram import Histogram
from plugins.quantizer.onnx_graph.probes import (
    LEAST,
    MOST,
    SAMPLE,
    around,
    element_counts,
    probed,
    same_values,
)

if TYPE_CHECKING:
    from pathlib import Path

    from core.values import Tensors
    from plugins.quantizer.onnx_graph.choose import Range

__all__ = ["Stream"]

#: Values of one tensor that a histogram gets from all windows together, evenly taken from each.
VALUES = 2**20


class Stream:
    """What is known of every tensor after the windows taken so far."""

    def __init__(self, model: Path, operators: Sequence[str], *, histograms: bool) -> None:
        self._path, self._operators, self._samples = model, operators, histograms
        self._session: Any = None
        self._probes: list[str] = []
        self._outputs: list[str] = []
        self._copies: dict[str, str] = {}
        self.extremes: dict[str, Range] = {}
        self.histograms: dict[str, Histogram] = {}

    def take(self, feeds: Tensors, index: int, total: int) -> None:
        """Run one window and widen what is known by it."""
        import numpy as np

        if self._session is None:
            self._open(feeds, total)
        names = [output.name for output in self._session.get_outputs()]
        found = dict(zip(names, self._session.run(names, self._fitting(feeds, index)), strict=True))
        for name in self._probes:
            self._widen(name, float(found[name + LEAST]), float(found[name + MOST]))
            if self._samples:
                self.histograms.setdefault(name, Histogram()).add(found[name + SAMPLE])
        # Extremes tell an infinity, but a NaN only where it comes first (ONNX Runtime 1.31.1).
        for name in self._outputs:
            if not np.isfinite(found[name]).all():
                raise _overflow(name)

    def everywhere(self, ranges: dict[str, Range]) -> dict[str, Range]:
        """Return `ranges` with those of the tensors that only arrange the values of others."""
        return ranges | {name: ranges[source] for name, source in self._copies.items()}

    def _widen(self, name: str, least: float, most: float) -> None:
        import numpy as np

        if not np.isfinite([least, most]).all():
            raise _overflow(name)
        before = self.extremes.get(name, (least, most))
        self.extremes[name] = min(least, before[0]), max(most, before[1])

    def _open(self, feeds: Tensors, total: int) -> None:
        """Open the graph with probes of every tensor around the operators."""
        import onnxruntime

        model = inferred(self._path)
        wanted = around(model, set(self._operators))
        sources = same_values(model)
        self._copies = {name: sources[name] for name in wanted if name in sources}
        self._probes = list(dict.fromkeys(sources.get(name, name) for name in wanted))
        self._outputs = [value.name for value in model.graph.output]
        samples = -(-VALUES // max(1, total)) if self._samples else 0
        probed(model, self._probes, element_counts(model, feeds), samples)
        target = self._path.with_name("probed.onnx")
        save(model, target)
        del model
        options = session_options()
        # Node after node as the graph lists them. By default ONNX Runtime starts from the last
        # node and leaves every probe for later, with the activation that it reads.
        options.execution_order = onnxruntime.ExecutionOrder.PRIORITY_BASED
        self._session = onnxruntime.InferenceSession(
            str(target), options, providers=["CPUExecutionProvider"]
        )

    def _fitting(self, feeds: Tensors, index: int) -> Tensors:
        """Return what the graph takes of `feeds`; raises InputError where it does not fit."""
        inputs = self._session.get_inputs()
        for wanted in inputs:
            given = feeds.get(wanted.name)
            if given is None:
                raise InputError(
                    f"calibration window {index} lacks the graph's input `{wanted.name}`",
                    f"it gives: {', '.join(feeds) or 'nothing'}",
                    f"the graph takes: {', '.join(i.name for i in inputs)}",
                    "give the dsp and the data that the graph was exported with",
                )
            fits = given.ndim == len(wanted.shape) and all(
                not isinstance(want, int) or want == got
                for want, got in zip(wanted.shape, given.shape, strict=True)
            )
            if not fits:
                raise InputError(
                    f"calibration window {index} gives `{wanted.name}` the shape "
                    f"{_shape(given.shape)}, but the graph takes {_shape(wanted.shape)}",
                    "give windows of the length that the graph was exported for",
                )
        return {wanted.name: feeds[wanted.name] for wanted in inputs}


def _overflow(tensor: str) -> StageError:
    return StageError(
        f"the graph overflows on calibration data, first in the tensor `{tensor}`",
        "it computes NaN or infinity for finite inputs, so no range can hold it",
        "compare the exported graph with PyTorch, or leave these nodes in float: exclude=[...]",
    )


def _shape(lengths: Sequence[object]) -> str:
    return "×".join(str(length) for length in lengths) or "()"
