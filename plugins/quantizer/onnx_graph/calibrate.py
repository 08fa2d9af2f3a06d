"""Collects the range of every activation in a stream: one window in memory at a time.

ONNX Runtime 1.31.1's own calibrators do not stream, and let memory grow in three ways. They keep
the outputs of every window to the end; the min-max one drops them instead of merging them when
told to keep few (`CalibMaxIntermediateOutputs`), and its merge loses a NaN. They read extremes at
the end of the graph, so that one window's activations all wait there: 19 GB for 7.8 s of HTDemucs.
And they switch every optimisation of the graph off. Here the graph is probed where the values are
made (`probes.py`), and it runs as fast as ONNX Runtime can.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any

from core import Calibration, InputError, Progress, StageError
from core.onnx_file import save
from plugins.quantizer.onnx_graph.choose import Range, by_entropy, by_mse, by_percentile
from plugins.quantizer.onnx_graph.files import inferred
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

    from onnxruntime.quantization import TensorsData

    from core.values import Tensors

__all__ = ["Method", "Ranges", "collect"]

#: Values of one tensor that a histogram gets from all windows together, evenly taken from each.
VALUES = 2**20


class Method(Enum):
    """How the range of an activation follows from its values."""

    minmax = "MinMax"
    entropy = "Entropy"
    percentile = "Percentile"
    mse = "MSE"


@dataclass(frozen=True)
class Ranges:
    """The range of every activation, and how many windows it comes from."""

    tensors: TensorsData
    windows: int


def collect(
    model: Path,
    calibration: Calibration,
    operators: Sequence[str],
    method: Method,
    percentile: float,
    progress: Progress,
    *,
    bits: Mapping[str, int] | None = None,
    symmetric: bool = False,
) -> Ranges:
    """Return the ranges of the float activations around `operators`, in one pass.

    `bits` are those of the tensors that do not get 8; they and `symmetric` matter to the method
    `mse`. Raises InputError for windows that the graph does not take, that are not finite, or that
    are missing; StageError where the graph itself overflows.
    """
    stream = _Stream(model, operators, histograms=method is not Method.minmax)
    count = 0
    for count, feeds in enumerate(_finite(calibration), 1):
        stream.take(feeds, count, calibration.count)
        progress(count, calibration.count, "calibrating: range of every tensor")
    if count == 0:
        raise InputError("the calibration data has no windows", "give it data: calibration=...")
    chosen: dict[str, Range] = {}
    for index, (name, extremes) in enumerate(stream.extremes.items()):
        if method is Method.minmax:
            chosen[name] = extremes
            continue
        progress(index, len(stream.extremes), f"calibrating: choosing ranges by {method.name}")
        histogram = stream.histograms[name]
        if method is Method.percentile:
            chosen[name] = by_percentile(histogram, extremes, percentile)
        elif method is Method.entropy:
            chosen[name] = by_entropy(histogram, extremes)
        else:
            steps = 2 ** (bits or {}).get(name, 8) - 1 - symmetric
            chosen[name] = by_mse(histogram, extremes, steps, symmetric=symmetric)
    return Ranges(_for_onnxruntime(stream.everywhere(chosen)), count)


class _Stream:
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
        options = onnxruntime.SessionOptions()
        # Node after node as the graph lists them. By default ONNX Runtime starts from the last
        # node and leaves every probe for later, with the activation that it reads.
        options.execution_order = onnxruntime.ExecutionOrder.PRIORITY_BASED
        options.log_severity_level = 4
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


def _finite(calibration: Calibration) -> Iterator[Tensors]:
    """Yield the windows; raises InputError for the first that holds a NaN or an infinity."""
    import numpy as np

    for index, feeds in enumerate(calibration.feeds()):
        for name, array in feeds.items():
            if not np.isfinite(array).all():
                raise InputError(
                    f"calibration window {index + 1} holds values that are not numbers "
                    f"(NaN or infinite) in `{name}`",
                    f"{int((~np.isfinite(array)).sum())} of {array.size} values",
                    "repair or leave out the file, or choose other data: calibration=...",
                )
        yield feeds


def _for_onnxruntime(ranges: Mapping[str, Range]) -> TensorsData:
    import numpy as np
    from onnxruntime.quantization import CalibrationMethod, TensorsData

    # As if they were all extremes: it only reads the two ends, and wants more of other methods.
    return TensorsData(
        CalibrationMethod.MinMax,
        {name: tuple(np.array([end], np.float32) for end in ends) for name, ends in ranges.items()},
    )
