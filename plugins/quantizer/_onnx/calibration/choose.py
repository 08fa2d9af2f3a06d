"""How the range of a tensor follows from its values: percentile, entropy, mean squared error."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from plugins.quantizer._onnx.calibration.histogram import Histogram

    Array = NDArray[np.float64]

__all__ = ["Range", "by_entropy", "by_mse", "by_percentile"]

Range = tuple[float, float]

#: Candidates for each end of a range: the extreme times 2^(-k/12), down to a thirty-second of it.
CANDIDATES = 61
PER_OCTAVE = 12
#: Bins and levels that the entropy method compares. The levels are ONNX Runtime's number; its 128
#: bins would leave one threshold to choose from, and twice as many take four times as long.
ENTROPY_BINS, ENTROPY_LEVELS = 512, 128


def by_percentile(histogram: Histogram, extremes: Range, percentile: float) -> Range:
    """Return the range that leaves out (100 - percentile) / 2 % of the values at either end."""
    import numpy as np

    total = histogram.counts.sum()
    if not total:
        return extremes
    reached = np.concatenate([[0.0], np.cumsum(histogram.counts) / total])
    cut = (100 - percentile) / 200
    low, high = np.interp([cut, 1 - cut], reached, _edges(histogram))
    return _within(float(low), float(high), extremes)


def by_entropy(histogram: Histogram, extremes: Range) -> Range:
    """Return the range whose quantised values are distributed most like all values.

    TensorRT's way (Migacz 2017, "8-bit inference with TensorRT"), as ONNX Runtime computes it.
    """
    import numpy as np
    from onnxruntime.quantization.calibrate import HistogramCollector

    if not histogram.counts.any():
        return extremes
    collector = HistogramCollector("entropy", False, ENTROPY_BINS, ENTROPY_LEVELS, 100.0, "same")
    bins = histogram.counts.size
    step = bins // ENTROPY_BINS
    # Bins beyond every value are left out, in whole bins of the coarser histogram.
    reach = max(-extremes[0], extremes[1]) / histogram.edge * bins / 2
    each = max(1, min(step, -(-int(np.ceil(reach)) // (ENTROPY_BINS // 2))))
    margin = (bins - each * ENTROPY_BINS) // 2
    counts = histogram.counts[margin : bins - margin].reshape(ENTROPY_BINS, each).sum(axis=1)
    edges = _edges(histogram)[margin : bins - margin + 1 : each].astype(np.float32)
    low, high = (np.float32(end) for end in extremes)
    chosen = collector.get_entropy_threshold((counts, edges, low, high, edges[-1]), ENTROPY_LEVELS)
    return _within(float(chosen[0]), float(chosen[1]), extremes)


def by_mse(histogram: Histogram, extremes: Range, steps: int, *, symmetric: bool) -> Range:
    """Return the range with the least mean squared error between values and quantised values.

    `steps` lie between its ends, each Δ wide. A clipped value errs by its distance to the range.
    Any other errs by Δ²/12 on average (Banner et al. 2019, "Post training 4-bit quantization of
    convolutional networks for rapid-deployment", eq. 4 to 6), except around zero, where all values
    within Δ/2 become 0 and err by their own size: networks have most of their values there. The
    minimum is searched for, as in Sung et al. 2015, "Resiliency of deep neural networks under
    quantization", over both ends at once.
    """
    import numpy as np

    factors = 2.0 ** (-np.arange(CANDIDATES) / PER_OCTAVE)
    least, most = min(extremes[0], 0.0), max(extremes[1], 0.0)
    if not histogram.counts.any() or least == most:
        return extremes
    if symmetric:
        high = max(-least, most) * factors
        low = -high
    else:
        low = (least * (factors if least else factors[:1]))[:, None]
        high = (most * (factors if most else factors[:1]))[None, :]
    error = _squared_error(histogram, low, high, (high - low) / steps)
    best = np.unravel_index(np.argmin(error), error.shape)
    low, high = (np.broadcast_to(end, error.shape)[best] for end in (low, high))
    return float(low), float(high)


def _squared_error(histogram: Histogram, low: Array, high: Array, delta: Array) -> Array:
    """Return the sum of squared errors over all values, for ranges that broadcast."""
    import numpy as np

    edges, centres = _edges(histogram), histogram.centres
    powers = np.stack([histogram.counts, histogram.counts * centres, histogram.counts * centres**2])
    reached = np.concatenate([np.zeros((3, 1)), np.cumsum(powers, axis=1)], axis=1)

    def below(bound: Array, power: int) -> Array:
        """Return the sum of the values below `bound`, each to the `power`."""
        return np.asarray(np.interp(bound, edges, reached[power]), np.float64)

    def within(start: Array, stop: Array, power: int) -> Array:
        return below(stop, power) - below(start, power)

    outside = np.array(np.inf)
    half = np.minimum(delta / 2, np.minimum(-low, high))
    kept = within(low, high, 0)
    to_zero = within(-half, half, 0)
    # A bin wider than Δ does not tell where in it the values lie: there, too, they err by Δ²/12.
    around_zero = np.minimum(within(-half, half, 2), to_zero * delta**2 / 12)
    error = around_zero + (kept - to_zero) * delta**2 / 12
    for bound, start, stop in ((low, -outside, low), (high, high, outside)):
        error = error + within(start, stop, 2)
        error = error - 2 * bound * within(start, stop, 1) + bound**2 * within(start, stop, 0)
    return error


def _within(low: float, high: float, extremes: Range) -> Range:
    """Return both ends, neither beyond the extremes: bins are coarser than values."""
    least, most = extremes
    return min(max(low, least), most), max(min(high, most), least)


def _edges(histogram: Histogram) -> Array:
    """Return the edges of the bins, of shape (bins + 1,)."""
    import numpy as np

    return np.linspace(-histogram.edge, histogram.edge, histogram.counts.size + 1)
