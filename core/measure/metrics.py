"""The measures that make sense for any model: SNR, latency, memory, size."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from core.plugin.values import Metric, Signature, TensorSpec

if TYPE_CHECKING:
    from core.plugin.values import Array, Tensors

__all__ = [
    "HIGH",
    "LOW",
    "Snr",
    "compare",
    "labels_of",
    "latency",
    "percentiles",
    "snr_db",
    "snr_of_labels",
    "snr_of_powers",
]

#: Reported where the error is zero or the signal silent: a finite number survives JSON and plots.
LIMIT_DB = 200.0
#: A label counts as at most this far below the loudest label of its output, in dB.
QUIET_DB = 20.0
#: The names of the two ends of a spread, as the `statistic` of a metric.
LOW, HIGH = "p5", "p95"


def snr_db(reference: Array, estimate: Array) -> float:
    """Return the signal-to-noise ratio 10·log10(Σ reference² / Σ (reference - estimate)²) in dB.

    Clipped to ±200 dB. Two silences are equal, so they give 200 dB. Raises ValueError when the
    shapes differ.
    """
    import numpy as np

    if reference.shape != estimate.shape:
        raise ValueError(f"shapes differ: {reference.shape} and {estimate.shape}")
    signal = float(np.sum(np.square(reference, dtype=np.float64)))
    noise = float(np.sum(np.square(reference.astype(np.float64) - estimate)))
    return snr_of_powers(signal, noise)


def snr_of_powers(signal: float, noise: float) -> float:
    """Return the SNR of powers that were summed elsewhere, for example over several windows."""
    import numpy as np

    if noise == 0.0:
        return LIMIT_DB
    if not np.isfinite(noise) or signal == 0.0:
        return -LIMIT_DB
    return float(np.clip(10 * np.log10(signal / noise), -LIMIT_DB, LIMIT_DB))


@dataclass(frozen=True)
class Snr:
    """How near an estimate is to its reference, in dB: per label (a stem), and over all of them.

    `overall` takes the labels of an output together, because they are heard together. Of several
    outputs, which may have different units, it is the lowest: a loud one never hides a dead one.
    An output without labels is its own label.
    """

    overall: float
    labels: tuple[str, ...]
    per_label: tuple[float, ...]

    @property
    def worst(self) -> float:
        """Return the lowest SNR of any label in dB: what a contract is judged by."""
        return min((*self.per_label, self.overall))

    @property
    def worst_label(self) -> str:
        """Return the label with the worst SNR; "" if it is no single label."""
        pairs = zip(self.per_label, self.labels, strict=True)
        return next((label for value, label in pairs if value == self.worst), "")


def compare(reference: Sequence[Tensors], estimate: Sequence[Tensors], signature: Signature) -> Snr:
    """Compare the outputs of several windows or items, taken as one long signal."""
    powers = [
        _powers(reference, estimate, spec, index)
        for spec in signature.outputs
        for index in range(len(labels_of(spec)))
    ]
    return snr_of_labels(signature, powers)


def snr_of_labels(signature: Signature, powers: Sequence[tuple[float, float]]) -> Snr:
    """Return the SNRs for the power of the signal and of the error of every label, in order.

    The SNR of a label is 10·log10(Σ reference² / Σ (reference - estimate)²). It says nothing if the
    reference is silent: a voice that is absent from an item would break every contract. So a label
    counts as at most `QUIET_DB` below the loudest label of its output. An output that is silent as
    a whole is compared with the loudest output; an output that is only quiet, with itself. A label
    that was lost has 0 dB, unless it is so quiet that its loss is not heard.
    """
    loudest = max((signal for signal, _ in powers), default=0.0)
    values: list[float] = []
    overall: list[float] = []
    first = 0
    for spec in signature.outputs:
        own = powers[first : first + len(labels_of(spec))]
        first += len(own)
        top = max((signal for signal, _ in own), default=0.0) or loudest
        floor = top * 10 ** (-QUIET_DB / 10)
        values += [snr_of_powers(max(signal, floor), noise) for signal, noise in own]
        whole = sum(signal for signal, _ in own)
        overall.append(snr_of_powers(whole or floor, sum(noise for _, noise in own)))
    return Snr(min(overall), _unique(signature), tuple(values))


def labels_of(spec: TensorSpec) -> tuple[str, ...]:
    """Return the names of the labels of an output; its own name where it has none."""
    axis = _labelled(spec)
    return (spec.name,) if axis is None else spec.labels[spec.axes[axis]]


def _unique(signature: Signature) -> tuple[str, ...]:
    """Return the names of all labels, with the name of the output if two outputs share one."""
    found = [(spec.name, label) for spec in signature.outputs for label in labels_of(spec)]
    names = [name for _, name in found]
    return tuple(name if names.count(name) == 1 else f"{output}.{name}" for output, name in found)


def _powers(
    reference: Sequence[Tensors], estimate: Sequence[Tensors], spec: TensorSpec, label: int
) -> tuple[float, float]:
    """Return the powers of one label and of its error, summed over windows or items.

    Raises ValueError when the shapes differ.
    """
    import numpy as np

    axis = _labelled(spec)
    signal = noise = 0.0
    for expected, got in zip(reference, estimate, strict=True):
        one, other = expected[spec.name], got[spec.name]
        if one.shape != other.shape:
            raise ValueError(f"shapes differ: {one.shape} and {other.shape} of `{spec.name}`")
        if axis is not None:
            one, other = np.take(one, label, axis), np.take(other, label, axis)
        signal += float(np.sum(np.square(one, dtype=np.float64)))
        noise += float(np.sum(np.square(one.astype(np.float64) - other)))
    return signal, noise


def _labelled(spec: TensorSpec) -> int | None:
    return next((i for i, axis in enumerate(spec.axes) if axis in spec.labels), None)


def latency(
    seconds: Sequence[float], covered_s: float | None, device: str, inputs: float | None = None
) -> list[Metric]:
    """Return the time of a window, and that of an input, whatever the length of its windows.

    Each is a median or a mean with its 5th and 95th percentile beside it. `covered_s` is how long
    the inputs last: the real-time factor is compute time over that, so below 1 is faster than real
    time. For inputs without a duration (images) it is replaced by the time of one input: `inputs`
    says how many inputs the timed windows make up.
    """
    if not seconds:
        return []
    low, median, high = percentiles(seconds)
    total = sum(seconds)
    metrics = [
        Metric("latency", 1000 * value, "ms", device, statistic=statistic, better="lower")
        for statistic, value in (("median", median), (LOW, low), (HIGH, high))
    ]
    if covered_s:
        name, unit, scale = "real_time_factor", "×", 1 / covered_s
    elif inputs:
        name, unit, scale = "time_per_input", "ms", 1000 / inputs
    else:
        return metrics
    values = (total, len(seconds) * low, len(seconds) * high)
    return metrics + [
        Metric(name, value * scale, unit, device, statistic=statistic, better="lower")
        for statistic, value in zip(("", LOW, HIGH), values, strict=True)
    ]


def percentiles(values: Sequence[float]) -> tuple[float, float, float]:
    """Return the 5th percentile, the median and the 95th percentile of some values.

    Percentiles are values that were measured: the lowest and the highest if there are few.
    """
    ordered = sorted(values)
    last = len(ordered) - 1
    return ordered[int(0.05 * last)], statistics.median(ordered), ordered[-1 - int(0.05 * last)]
