"""Collects the range of every activation in a stream: one window in memory at a time.

ONNX Runtime 1.31.1's own calibrators do not stream. The histogram ones keep every activation of
every window; the min-max one drops what it has instead of merging it when told to keep little
(`CalibMaxIntermediateOutputs`), and its merge loses a NaN. So its graphs with added outputs are
used, and the loop over them is here.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any

from core import Calibration, InputError, Progress, StageError

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray
    from onnxruntime.quantization import CalibraterBase, TensorsData

    from core.values import Tensors

__all__ = ["Method", "Ranges", "collect"]

#: Bins of a histogram. For a percentile, ONNX Runtime's own number. Its number for entropy, 128,
#: leaves one threshold to choose from; a doubling takes four times as long (512: 0.1 s a tensor).
BINS = {"percentile": 2048, "entropy": 512}
#: Levels that the entropy method compares a histogram with, ONNX Runtime's number.
QUANTISED_BINS = 128


class Method(Enum):
    """How the range of an activation follows from its values."""

    minmax = "MinMax"
    entropy = "Entropy"
    percentile = "Percentile"


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
) -> Ranges:
    """Return the ranges of the float activations around `operators`.

    The extremes are collected in one pass. The other methods then read the windows again, to
    fill histograms whose edges the extremes fix: a histogram that started on a quiet window
    would have to grow by as many bins as a later window is louder. Raises InputError for windows
    that are not finite or missing, StageError where the graph itself overflows.
    """
    from onnxruntime.quantization import CalibrationMethod, TensorsData

    passes = 1 if method is Method.minmax else 2
    total = calibration.count * passes
    extremes: dict[str, tuple[Any, Any]] = {}
    session = _augmented(model, operators, CalibrationMethod.MinMax).infer_session
    count = 0
    for count, feeds in enumerate(_checked(calibration), 1):
        _widen(extremes, session, feeds)
        progress(count, total, "calibrating: extremes of every tensor")
    if count == 0:
        raise InputError("the calibration data has no windows", "give it data: calibration=...")
    _check_finite(extremes)
    if method is Method.minmax:
        return Ranges(TensorsData(CalibrationMethod.MinMax, extremes), count)
    del session
    kind = CalibrationMethod[method.value]
    session = _augmented(model, operators, kind).infer_session
    histograms = _empty_histograms(extremes, method, percentile)
    names = list(extremes)
    for index, feeds in enumerate(_checked(calibration), 1):
        histograms.collect_value(dict(zip(names, session.run(names, feeds), strict=True)))
        progress(count + index, total, "calibrating: histogram of every tensor")
    return Ranges(TensorsData(kind, _chosen(histograms, method, progress)), count)


def _chosen(histograms: Any, method: Method, progress: Progress) -> dict[str, Any]:
    """Return the range that `method` reads from each histogram."""
    if method is Method.percentile:
        # It prints how many tensors and bins there are.
        with contextlib.redirect_stdout(io.StringIO()):
            chosen: dict[str, Any] = histograms.compute_percentile()
        return chosen
    chosen = {}
    total = len(histograms.histogram_dict)
    for index, (name, histogram) in enumerate(histograms.histogram_dict.items()):
        progress(index, total, "calibrating: choosing ranges by entropy")
        threshold = histograms.get_entropy_threshold(histogram, QUANTISED_BINS)
        chosen[name] = (*threshold, *histogram[:2])
    return chosen


def _augmented(model: Path, operators: Sequence[str], kind: Any) -> CalibraterBase:
    """Return the graph opened with more outputs: extremes or values of every activation."""
    from onnxruntime.quantization import create_calibrator

    target = model.with_name(f"augmented_{kind.name}.onnx")
    outside = model.with_name(f"{model.name}.data").exists()
    return create_calibrator(
        model, list(operators), str(target), kind, use_external_data_format=outside
    )


def _checked(calibration: Calibration) -> Iterator[Tensors]:
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


def _widen(extremes: dict[str, tuple[Any, Any]], session: Any, feeds: Tensors) -> None:
    """Run one window and widen the extremes, arrays of shape (1,), in place."""
    import numpy as np

    low, high = "_ReduceMin", "_ReduceMax"
    names = [o.name for o in session.get_outputs() if o.name.endswith((low, high))]
    found: dict[str, NDArray[np.float32]] = dict(zip(names, session.run(names, feeds), strict=True))
    for name in names:
        tensor = name.removesuffix(low)
        if tensor == name:
            continue
        least, most = found[name], found[tensor + high]
        if tensor in extremes:
            # Unlike min() and nanmin(), these let a NaN through to the check.
            least = np.minimum(least, extremes[tensor][0])
            most = np.maximum(most, extremes[tensor][1])
        extremes[tensor] = (least, most)


def _check_finite(extremes: dict[str, tuple[Any, Any]]) -> None:
    import numpy as np

    wrong = [name for name, pair in extremes.items() if not np.isfinite(pair).all()]
    if wrong:
        raise StageError(
            f"{len(wrong)} tensor(s) of the graph overflow on calibration data, first `{wrong[0]}`",
            "the graph computes NaN or infinity for finite inputs, so no range can hold it",
            "compare the exported graph with PyTorch, or leave these nodes in float: exclude=[...]",
        )


def _empty_histograms(
    extremes: dict[str, tuple[Any, Any]], method: Method, percentile: float
) -> Any:
    """Return ONNX Runtime's collector with an empty histogram of fixed edges per tensor."""
    import numpy as np
    from onnxruntime.quantization.calibrate import HistogramCollector

    bins = BINS[method.name]
    collector = HistogramCollector(method.name, False, bins, QUANTISED_BINS, percentile, "same")
    for name, (least, most) in extremes.items():
        # An all-zero tensor gets some width: edges that all coincide hold no value.
        edge = max(abs(float(least[0])), abs(float(most[0])), 1e-30)
        edges = np.linspace(-edge, edge, bins + 1, dtype=np.float32)
        counts = np.zeros(bins, np.int64)
        collector.histogram_dict[name] = (
            counts,
            edges,
            least.reshape(()),
            most.reshape(()),
            np.array(edge, np.float32),
        )
    return collector
