"""The measures that make sense for any model: SNR, latency, memory, size."""

from __future__ import annotations

import statistics
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import psutil

from core.values import Metric, Signature, TensorSpec

if TYPE_CHECKING:
    from core.values import Array, Tensors

__all__ = ["Peak", "Snr", "compare", "latency", "peak_memory", "snr_db", "snr_of_powers"]

#: Reported where the error is zero or the signal silent: a finite number survives JSON and plots.
LIMIT_DB = 200.0


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
    """Return the same for powers that were summed elsewhere, over several windows say."""
    import numpy as np

    if noise == 0.0:
        return LIMIT_DB
    if not np.isfinite(noise) or signal == 0.0:
        return -LIMIT_DB
    return float(np.clip(10 * np.log10(signal / noise), -LIMIT_DB, LIMIT_DB))


@dataclass(frozen=True)
class Snr:
    """How near an estimate is to its reference: over all outputs, and per label (stem) in dB."""

    overall: float
    labels: tuple[str, ...]
    per_label: tuple[float, ...]


def compare(reference: Sequence[Tensors], estimate: Sequence[Tensors], signature: Signature) -> Snr:
    """Compare the outputs of several windows or items, taken as one long signal."""
    import numpy as np

    def joined(tensors: Sequence[Tensors], pick: TensorSpec, label: int | None) -> Array:
        axis = _labelled(pick)
        parts = [
            np.ravel(
                t[pick.name]
                if label is None or axis is None
                else np.take(t[pick.name], label, axis)
            )
            for t in tensors
        ]
        return np.concatenate(parts)

    specs = signature.outputs
    overall = snr_db(
        np.concatenate([joined(reference, spec, None) for spec in specs]),
        np.concatenate([joined(estimate, spec, None) for spec in specs]),
    )
    labels: list[str] = []
    values: list[float] = []
    for spec in specs:
        axis = _labelled(spec)
        names = spec.labels[spec.axes[axis]] if axis is not None else (spec.name,)
        for index, name in enumerate(names):
            labels.append(name)
            values.append(snr_db(joined(reference, spec, index), joined(estimate, spec, index)))
    return Snr(overall, tuple(labels), tuple(values))


def _labelled(spec: TensorSpec) -> int | None:
    return next((i for i, axis in enumerate(spec.axes) if axis in spec.labels), None)


def latency(seconds: Sequence[float], covered_s: float | None, device: str) -> list[Metric]:
    """Return median and 95th percentile per window, and the real-time factor where time exists.

    `covered_s` is how long the inputs last; the real-time factor is compute time over that, so
    below 1 is faster than real time.
    """
    if not seconds:
        return []
    ordered = sorted(seconds)
    p95 = ordered[min(len(ordered) - 1, int(0.95 * len(ordered)))]
    metrics = [
        Metric("latency", 1000 * statistics.median(ordered), "ms", device, "median", "lower"),
        Metric("latency", 1000 * p95, "ms", device, "p95", "lower"),
    ]
    if covered_s:
        factor = sum(seconds) / covered_s
        metrics.append(Metric("real_time_factor", factor, "×", device, "", "lower"))
    return metrics


@dataclass
class Peak:
    """The highest resident memory seen, in MB, of this process and its children."""

    mb: float = 0.0


@contextmanager
def peak_memory(every_s: float = 0.05) -> Iterator[Peak]:
    """Sample resident memory while the block runs; children count, so a compiler is seen too."""
    peak, done, me = Peak(), threading.Event(), psutil.Process()

    def sample() -> None:
        while True:
            total = 0
            try:
                for process in (me, *me.children(recursive=True)):
                    total += process.memory_info().rss
            except psutil.NoSuchProcess:
                total = 0
            peak.mb = max(peak.mb, total / 1e6)
            if done.wait(every_s):
                return

    thread = threading.Thread(target=sample, name="peak-memory", daemon=True)
    thread.start()
    try:
        yield peak
    finally:
        done.set()
        thread.join()
