"""The figures of a run that a sweep compares its points by.

Quality comes from the first evaluator that measures something of which more is better (SDR, PSNR);
where none does, the SNR to FP32 PyTorch stands for it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace

from core.contract import lowest_parity
from core.record import RunRecord
from core.sweep.record import Figure
from core.values import Metric

__all__ = ["Measured", "catalogue", "measured"]

#: What any run measures, whatever its evaluators are.
OWN = (
    Figure("snr", "SNR to FP32", "dB", "higher"),
    Figure("latency", "time per window", "ms", "lower", objective=True),
    Figure("memory", "peak memory", "MB", "lower", objective=True),
    Figure("size", "size", "MB", "lower", plotted=True),
    Figure("real_time_factor", "real-time factor", "×", "lower"),
    Figure("npu_coverage", "NPU coverage", "", "higher"),
)
#: Words of so many letters, and those without a vowel, are abbreviations.
SHORT = 2
_METRICS = {("latency", "median"): "latency", ("peak_memory", None): "memory",
            ("real_time_factor", None): "real_time_factor"}  # fmt: skip
_OF_CORE = frozenset({"latency", "peak_memory", "real_time_factor", "parity_snr"})


class Measured(dict[str, tuple[float, str]]):
    """The value of every figure of one run, and the device that it was measured on."""


def measured(record: RunRecord, shipped_bytes: int, coverage: float | None) -> Measured:
    """Return what one run measured; an evaluator's metric counts as its mean over the items."""
    found = Measured()
    for metric in record.metrics:
        for (name, subject), figure in _METRICS.items():
            if metric.name == name and subject in (None, metric.subject):
                found[figure] = (metric.value, metric.device)
    lowest = lowest_parity(record.metrics)
    if lowest is not None:
        found["snr"] = (lowest.value, lowest.device)
    found["size"] = (shipped_bytes / 1e6, "the file")
    if coverage is not None:
        found["npu_coverage"] = (coverage, record.target.title)
    for name, metrics in _by_name(record.metrics).items():
        values = [metric.value for metric in metrics]
        found[name] = (sum(values) / len(values), metrics[0].device)
    # A figure that is no number compares with nothing, and has no place in JSON.
    return Measured({name: pair for name, pair in found.items() if math.isfinite(pair[0])})


def catalogue(runs: Iterable[Sequence[Metric]], measured: Iterable[str]) -> tuple[Figure, ...]:
    """Return every figure that some run measured: the quality first, then costs, then the rest."""
    of_evaluators: dict[str, Figure] = {}
    for metrics in runs:
        for name, (first, *_) in _by_name(metrics).items():
            if first.better != "neither" and name not in of_evaluators:
                of_evaluators[name] = Figure(name, _title(name), first.unit, first.better)
    known = set(measured)
    quality = next((f for f in of_evaluators.values() if f.better == "higher"), OWN[0])
    rest = [f for f in (*OWN, *of_evaluators.values()) if f.name != quality.name]
    ordered = [replace(quality, objective=True), *rest]
    return tuple(figure for figure in ordered if figure.name in known)


def _by_name(metrics: Sequence[Metric]) -> dict[str, list[Metric]]:
    """Return what evaluators measured, by name: the means over labels, where there are any."""
    named: dict[str, list[Metric]] = {}
    for metric in metrics:
        if metric.name not in _OF_CORE and metric.better != "neither":
            named.setdefault(metric.name, []).append(metric)
    return {
        name: [m for m in found if m.subject.endswith((": mean", ": all"))] or found
        for name, found in named.items()
    }


def _title(name: str) -> str:
    """Return a metric's name as a person writes it: `sdr_drop` is "SDR drop"."""
    words = name.split("_")
    short = [len(word) <= SHORT or not set(word) & set("aeiou") for word in words]
    return " ".join(w.upper() if s else w for w, s in zip(words, short, strict=True))
