"""The figures of a run that a sweep compares its points by.

Quality is the first metric of an evaluator of which more is better (SDR, PSNR), as its mean over
items and labels; without one, the SNR to FP32 PyTorch stands for it. Of a loss the worst counts, as
in a contract. Time is that of a window; if windows differ, that of a second of input, or of an
input without a duration.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace

from core.measure.contract import lowest_parity
from core.measure.metrics import HIGH, LOW
from core.measure.placement import Coverage
from core.plugin.records import RunRecord, SweepMetric
from core.plugin.values import Metric

__all__ = ["Measured", "catalogue", "measured", "quality_of", "spreads_of"]

#: What any run measures, whatever its evaluators are.
OWN = (
    SweepMetric("snr", "SNR to FP32", "dB", "higher"),
    SweepMetric("latency", "time per window", "ms", "lower"),
    SweepMetric("real_time_factor", "real-time factor", "×", "lower"),
    SweepMetric("time_per_input", "time per input", "ms", "lower"),
    SweepMetric("cold_start", "cold start", "ms", "lower"),
    SweepMetric("memory", "peak memory", "MB", "lower", objective=True),
    SweepMetric("size", "size", "MB", "lower", plotted=True),
    SweepMetric("accelerator_coverage", "accelerator coverage", "", "higher"),
)
#: Words of so many letters, and those without a vowel, are abbreviations.
SHORT = 2
_METRICS = {
    ("latency", "median"): "latency",
    ("cold_start", ""): "cold_start",
    ("peak_memory", ""): "memory",
    ("real_time_factor", ""): "real_time_factor",
    ("time_per_input", ""): "time_per_input",
}
#: The time that points are compared by, the first of these that was measured: if all have the same
#: windows, and if windows differ, so that the time of a window says nothing.
_SAME, _OTHER = ("latency",), ("real_time_factor", "time_per_input")
_TIMES = frozenset({*_SAME, *_OTHER})
_OF_CORE = _TIMES | {"cold_start", "peak_memory", "parity_snr"}


class Measured(dict[str, tuple[float, str]]):
    """The value of every figure of one run, and the device that it was measured on."""


def measured(record: RunRecord, shipped_bytes: int, coverage: Coverage | None) -> Measured:
    """Return the figures of one run: of an evaluator's metrics the mean, of losses the worst."""
    found = Measured()
    for metric in record.metrics:
        figure = _METRICS.get((metric.name, metric.statistic))
        if figure is not None:
            found[figure] = (metric.value, metric.device)
    lowest = lowest_parity(record.metrics, record.budget)
    if lowest is not None:
        found["snr"] = (lowest.value, lowest.device)
    found["size"] = (shipped_bytes / 1e6, "the file")
    if coverage is not None:
        found["accelerator_coverage"] = (coverage.value, coverage.device)
    for name, metrics in _by_name(record.metrics).items():
        found[name] = (_together(metrics), metrics[0].device)
    # A figure that is no finite number cannot be compared, and JSON cannot hold it.
    return Measured({name: pair for name, pair in found.items() if math.isfinite(pair[0])})


def spreads_of(metrics: Sequence[Metric]) -> dict[str, tuple[float, float]]:
    """Return the 5th and the 95th percentile of every figure that is a time."""
    found = {(metric.name, metric.statistic): metric.value for metric in metrics}
    ends = {name: (found.get((name, LOW)), found.get((name, HIGH))) for name in _TIMES}
    return {
        name: (low, high)
        for name, (low, high) in ends.items()
        if low is not None and high is not None and math.isfinite(low + high)
    }


def quality_of(metrics: Sequence[Metric]) -> tuple[SweepMetric, float] | None:
    """Return the quality that metrics of evaluators hold, and its value; None where they do not."""
    for name, found in _by_name(metrics).items():
        if found[0].better == "higher":
            return SweepMetric(name, _title(name), found[0].unit, "higher"), _together(found)
    return None


def catalogue(
    runs: Iterable[Sequence[Metric]], measured: Iterable[str], *, windows: bool = False
) -> tuple[SweepMetric, ...]:
    """Return every figure that some run measured: the quality first, then costs, then the rest.

    `windows` says that the windows of the points differ.
    """
    of_evaluators: dict[str, SweepMetric] = {}
    for metrics in runs:
        for name, found in _by_name(metrics).items():
            first = found[0]
            if first.better != "neither" and name not in of_evaluators:
                title = _title(name, _merged(found))
                of_evaluators[name] = SweepMetric(name, title, first.unit, first.better)
    known = set(measured)
    time = next((name for name in (_OTHER if windows else _SAME) if name in known), "")
    quality = next((f for f in of_evaluators.values() if f.better == "higher"), OWN[0])
    rest = [f for f in (*OWN, *of_evaluators.values()) if f.name != quality.name]
    # Times that are not compared come last.
    rest.sort(key=lambda figure: figure.name != time and figure.name in _TIMES)
    ordered = [
        replace(quality, objective=True),
        *(replace(f, objective=f.objective or f.name == time) for f in rest),
    ]
    return tuple(figure for figure in ordered if figure.name in known)


def _by_name(metrics: Sequence[Metric]) -> dict[str, list[Metric]]:
    """Return the metrics of evaluators by name: those of labels, and a mean if there is one."""
    named: dict[str, list[Metric]] = {}
    for metric in metrics:
        if metric.name not in _OF_CORE and metric.better != "neither":
            named.setdefault(metric.name, []).append(metric)
    return named


def _together(metrics: Sequence[Metric]) -> float:
    """Return one number for all items and labels: of a loss the worst, of anything else the mean.

    The mean over labels is the evaluator's own, where it gives one.
    """
    if metrics[0].better == "lower":
        values = [metric.value for metric in metrics]
        # A value that is no number must not be hidden by others.
        return math.nan if any(map(math.isnan, values)) else max(values)
    means = [m.value for m in metrics if not m.label]
    values = means or [metric.value for metric in metrics]
    return sum(values) / len(values)


def _merged(metrics: Sequence[Metric]) -> str:
    """Return how several values were merged; "" for one."""
    if len(metrics) == 1:
        return ""
    return "worst" if metrics[0].better == "lower" else "mean"


def _title(name: str, before: str = "") -> str:
    """Return a metric's name as a person writes it: `sdr_drop` is "SDR drop"."""
    words = name.split("_")
    short = [len(word) <= SHORT or not set(word) & set("aeiou") for word in words]
    said = " ".join(w.upper() if s else w for w, s in zip(words, short, strict=True))
    return f"{before} {said}" if before else said
