"""Collects the range of every activation in a stream: one window in memory at a time.

ONNX Runtime 1.31.1's own calibrators do not stream, and let memory grow in three ways. They keep
the outputs of every window to the end; the min-max one drops them instead of merging them when
told to keep few (`CalibMaxIntermediateOutputs`), and its merge loses a NaN. They read extremes at
the end of the graph, so that one window's activations all wait there: 3.2 GB for 1 s of HTDemucs.
And they switch every optimisation of the graph off. Here the graph is probed where the values are
made (`probes.py`), and it runs as fast as ONNX Runtime can.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from core import Calibration, Progress
from plugins.quantizer.onnx_graph.choose import Range, by_entropy, by_mse, by_percentile
from plugins.quantizer.onnx_graph.stream import Stream
from plugins.quantizer.windows import finite

if TYPE_CHECKING:
    from pathlib import Path

    from onnxruntime.quantization import TensorsData

__all__ = ["Method", "Ranges", "collect"]


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
    stream = Stream(model, operators, histograms=method is not Method.minmax)
    count = 0
    for count, feeds in enumerate(finite(calibration), 1):
        stream.take(feeds, count, calibration.count)
        progress(count, calibration.count, "calibrating: range of every tensor")
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


def _for_onnxruntime(ranges: Mapping[str, Range]) -> TensorsData:
    import numpy as np
    from onnxruntime.quantization import CalibrationMethod, TensorsData

    # As if they were all extremes: it only reads the two ends, and wants more of other methods.
    return TensorsData(
        CalibrationMethod.MinMax,
        {name: tuple(np.array([end], np.float32) for end in ends) for name, ends in ranges.items()},
    )
