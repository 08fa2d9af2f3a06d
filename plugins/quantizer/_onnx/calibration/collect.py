"""Collects the range of every activation in a stream: one window in memory at a time.

ONNX Runtime 1.31.1's own calibrators do not stream, and let memory grow in three ways. They keep
the outputs of every window to the end; the min-max one drops them instead of merging them when
told to keep few (`CalibMaxIntermediateOutputs`), and its merge loses a NaN. They read extremes at
the end of the graph, so that one window's activations all wait there: 3.2 GB for 1 s of HTDemucs.
And they switch every optimisation of the graph off. Here the graph is probed where the values are
made (`probes.py`), and it runs as fast as ONNX Runtime can.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING

from core import Calibration, Progress, Tensors
from core.formats.onnx_graph import inferred
from plugins.quantizer._onnx.calibration.choose import Range, by_entropy, by_mse, by_percentile
from plugins.quantizer._onnx.calibration.headroom import MOST, MOST_OF_OPERAND, with_headroom
from plugins.quantizer._onnx.calibration.histogram import Histogram
from plugins.quantizer._onnx.calibration.probes import second_operands
from plugins.quantizer._onnx.calibration.reader_bounds import reader_bounds, within
from plugins.quantizer._onnx.calibration.softmaxes import softmax_ranges
from plugins.quantizer._onnx.calibration.stream import Stream
from plugins.quantizer._onnx.calibration.value_bounds import ENDLESS, value_bounds
from plugins.quantizer._windows import finite

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray
    from onnxruntime.quantization import TensorsData

    from plugins.quantizer._onnx.calibration.patches import Moments

__all__ = ["Method", "Ranges", "collect"]


#: Bits of a wide activation, and steps of a narrow one.
WIDE, STEPS = 16, 2**8 - 1


class Method(Enum):
    """How the range of an activation of 8 bits follows from its values."""

    minmax = "MinMax"
    entropy = "Entropy"
    percentile = "Percentile"
    mse = "MSE"


@dataclass(frozen=True)
class Ranges:
    """The ranges of every activation, and how many windows they come from.

    `seen` are the extremes. `narrow` are for 8 bits, chosen by a method; `wide` are for 16, with
    room for louder values (`headroom.py`). `endless` are tensors that held an infinity. `means`
    has the mean of every channel that layers with a bias read, `moments` those of the rows that
    each layer multiplies with its weights, `example` the inputs of a window in the middle.
    """

    seen: Mapping[str, Range]
    narrow: Mapping[str, Range]
    wide: Mapping[str, Range]
    windows: int
    endless: Collection[str] = ()
    means: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)
    moments: Mapping[str, list[Moments]] = field(default_factory=dict)
    example: Tensors = field(default_factory=dict)

    @property
    def tensors(self) -> TensorsData:
        """Return the ranges for 8 bits, as ONNX Runtime takes them."""
        return self.at({})

    def at(self, bits: Mapping[str, int]) -> TensorsData:
        """Return the ranges of tensors that have `bits`; a tensor not listed has 8."""
        return _for_onnxruntime(
            {
                name: self.wide[name] if bits.get(name) == WIDE else narrow
                for name, narrow in self.narrow.items()
            }
        )


def collect(
    model: Path,
    calibration: Calibration,
    operators: Sequence[str],
    method: Method,
    percentile: float,
    progress: Progress,
    *,
    symmetric: bool = False,
) -> Ranges:
    """Return the ranges of the float activations around `operators`, in one pass.

    `symmetric` matters to the method `mse`. Raises InputError for windows that the graph does not
    take, that are not finite, or that are missing; StageError where the graph itself overflows.
    """
    stream = Stream(model, operators)
    count = 0
    for count, feeds in enumerate(finite(calibration), 1):
        stream.take(feeds, count, calibration.count)
        progress(count, calibration.count, "calibrating: range of every tensor")
    narrow: dict[str, Range] = {}
    wide: dict[str, Range] = {}
    graph = inferred(model)
    bounds, operands = value_bounds(graph), second_operands(graph)
    for index, (name, extremes) in enumerate(stream.extremes.items()):
        progress(index, len(stream.extremes), f"calibrating: choosing ranges by {method.name}")
        histogram = stream.histograms.get(name, Histogram())
        wide[name] = with_headroom(
            extremes,
            histogram.mean_square,
            bounds.get(name, ENDLESS),
            MOST_OF_OPERAND if name in operands else MOST,
        )
        if method is Method.minmax:
            narrow[name] = extremes
        elif method is Method.percentile:
            narrow[name] = by_percentile(histogram, extremes, percentile)
        elif method is Method.entropy:
            narrow[name] = by_entropy(histogram, extremes)
        else:
            narrow[name] = by_mse(histogram, extremes, STEPS - symmetric, symmetric=symmetric)
    wide |= {n: within(wide[n], ends) for n, ends in reader_bounds(graph).items() if n in wide}
    narrow |= softmax_ranges(graph, stream.extremes)
    everywhere = stream.everywhere
    return Ranges(
        everywhere(stream.extremes),
        everywhere(narrow),
        everywhere(wide),
        count,
        stream.endless,
        stream.means,
        stream.moments,
        stream.example,
    )


def _for_onnxruntime(ranges: Mapping[str, Range]) -> TensorsData:
    import numpy as np
    from onnxruntime.quantization import CalibrationMethod, TensorsData

    # Passed as extremes: ONNX Runtime reads only the two ends, and wants more of other methods.
    return TensorsData(
        CalibrationMethod.MinMax,
        {name: tuple(np.array([end], np.float32) for end in ends) for name, ends in ranges.items()},
    )
