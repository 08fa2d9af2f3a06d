"""The contract: what a recipe must hold, and whether a run held it.

    contract: {min_snr_db: 30, max_sdr_drop_db: 0.3, max_chunk_ms: 150}

Some limits are about any model and stand here; evaluators add their own (`Evaluator.limits`). The
worst label (a stem, an output) of the worst item decides: a mean would hide it. A value that equals
the bound holds it. A limit that nothing measured is not held.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from core.config.limits import TIMED, Limit, is_held
from core.measure import error_budget
from core.measure.placement import Coverage
from core.plugin.records import BudgetLine, Judged
from core.plugin.stages import EvaluatedItem
from core.plugin.step_names import PROBE
from core.plugin.values import Artifact, Metric

if TYPE_CHECKING:
    from core.config.pipeline import Pipeline

__all__ = ["asked", "found", "judge", "lowest_parity", "missed", "story", "verdict"]


#: The metric of the core that says how near a result is to FP32 PyTorch: one per label and item.
PARITY = "parity_snr"
#: Items that a sentence names; it only counts the others.
NAMED = 3
#: Why a limit on a comparison with the truth does not count.
NO_TRUTH = "no input has true outputs to compare with"


def judge(
    pipeline: Pipeline,
    shipped: Artifact,
    metrics: Sequence[Metric],
    lines: Sequence[BudgetLine],
    against: str = EvaluatedItem.against,
    coverage: Coverage | None = None,
    insisted: Collection[str] = (),
) -> tuple[Judged, ...]:
    """Return every limit of the contract with what a run measured of it.

    A limit that compares with true outputs does not count where no input has any, unless it is one
    of `insisted`, or nothing else was measured for the contract.

    `lines` are its error budget, `coverage` is the share of nodes that ran as asked. Of an
    evaluator's metrics the worst counts, on whatever item and label. `against` says in words which
    windows FP32 PyTorch had; a metric was compared with it if its note says so.
    """
    own, other = pipeline.chunker, pipeline.against
    same = other is None or (type(own), own.options) == (type(other), other.options)
    compared = "" if same else against
    every = tuple(
        _judged(pipeline, limit, shipped, metrics, lines, compared, coverage)
        for limit in pipeline.contract
    )
    if all(one.value is None for one in every):
        return every
    of_truth = {limit.name for limit in pipeline.contract if limit.spec.of_truth}
    waives = of_truth.difference(insisted)
    return tuple(
        replace(one, held=True, waived=NO_TRUTH)
        if one.value is None and one.name in waives
        else one
        for one in every
    )


def lowest_parity(metrics: Sequence[Metric], lines: Sequence[BudgetLine] = ()) -> Metric | None:
    """Return the SNR of the label, of any item, that is furthest from FP32 PyTorch.

    `min_snr_db` is judged by it, so headlines use it, too, for the nearness to FP32. Of the error
    budget (`lines`), the row of a device that is too slow for whole inputs counts too.
    """
    probes = [metric for line in lines if line.stage == PROBE for metric in _of_probe(line)]
    return _worst([*(m for m in metrics if m.name == PARITY), *probes], is_least=True)


def missed(judged: Sequence[Judged]) -> list[Judged]:
    """Return the limits that were not held."""
    return [one for one in judged if not one.held]


def verdict(one: Judged) -> str:
    """Return in a word or two what became of a limit: `held`, `missed` or `not judged`."""
    if one.waived:
        return "not judged"
    return "held" if one.held else "missed"


def story(one: Judged) -> str:
    """Return one sentence: the limit, what was measured of what, how far off, and who lost it."""
    if one.waived:
        return f"`{one.name}` asks for {asked(one)}, and was not judged: {one.waived}"
    if one.value is None:
        why = f": {one.guilty}" if one.guilty else ""
        return f"`{one.name}` asks for {asked(one)}, and nothing measured it{why}"
    said = f"`{one.name}` asks for {asked(one)}: {found(one)}"
    said += f" for {one.where}" if one.where else ""
    said += f" on {one.device}" if one.device else ""
    said += f" against FP32 PyTorch with {one.against}" if one.against else ""
    if not one.held and not math.isnan(one.value):
        said += f", {abs(one.value - one.bound):.3g} {one.unit}".rstrip() + " off"
    said += f"; {one.guilty}" if one.guilty and not one.held else ""
    left, more = one.unanswered[:NAMED], len(one.unanswered) - NAMED
    words = [*left, f"{more} more"] if more > 0 else left
    return f"{said}; not measured of {', '.join(words)}" if words else said


def asked(one: Judged) -> str:
    """Return what a limit asks for: "at least 30 dB"."""
    word = "at least" if one.is_least else "at most"
    return f"{word} {one.bound:.12g} {one.unit}".rstrip()


def found(one: Judged) -> str:
    """Return the measured value of a limit, with as many digits as a person needs.

    There are more digits if fewer would put the value on the other side of the bound: 29.9996 is
    not "30 dB" if at least 30 dB are asked for.
    """
    if one.waived:
        return "not judged"
    if one.value is None:
        return "nothing"
    if math.isnan(one.value):
        return "no number"
    texts = (_rounded(one.value, digits) for digits in (5, 7, 9, 12, 15))
    same = (
        text for text in texts if is_held(float(text), one.bound, is_least=one.is_least) == one.held
    )
    said = next(same, repr(one.value))
    return f"{said} {one.unit}".rstrip()


def _rounded(value: float, digits: int) -> str:
    """Return a number with so many digits, of which at most `digits` - 2 are decimals."""
    whole = len(f"{abs(value):.0f}") if math.isfinite(value) else 0
    text = f"{value:.{max(0, min(digits - 2, digits - whole))}f}"
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return text.removeprefix("-") if text == "-0" else text


@dataclass(frozen=True)
class _Measured:
    """The number that a limit is compared with, and what `Judged` says of it."""

    value: float | None = None
    device: str = ""
    guilty: str = ""
    where: str = ""
    unanswered: tuple[str, ...] = ()
    against: str = ""


def _judged(
    pipeline: Pipeline,
    limit: Limit,
    shipped: Artifact,
    metrics: Sequence[Metric],
    lines: Sequence[BudgetLine],
    against: str,
    coverage: Coverage | None,
) -> Judged:
    of = _measured(pipeline, limit, shipped, metrics, lines, against, coverage)
    held = of.value is not None and limit.is_held_by(of.value)
    return Judged(
        limit.name,
        limit.bound,
        of.value,
        limit.spec.unit,
        of.device,
        held,
        "" if held else of.guilty,
        of.where,
        of.unanswered,
        of.against,
        limit.spec.is_least,
    )


def _measured(
    pipeline: Pipeline,
    limit: Limit,
    shipped: Artifact,
    metrics: Sequence[Metric],
    lines: Sequence[BudgetLine],
    against: str,
    coverage: Coverage | None,
) -> _Measured:
    if limit.name == "max_size_mb":
        return _Measured(shipped.bytes / 1e6, "the file", f"made by {shipped.steps[-1]}")
    if limit.name == "min_accelerator_coverage":
        if coverage is None:
            name = pipeline.runtime.name
            return _Measured(guilty=f"runtime `{name}` has no trace of what computed each node")
        return _Measured(
            coverage.value, coverage.device, coverage.left or "every node ran as asked"
        )
    if limit.name == "min_snr_db":
        lowest = lowest_parity(metrics, lines)
        return _of(lowest, metrics, lines, against) if lowest else _Measured()
    if limit.name in TIMED:
        if not pipeline.plays_itself:
            return _Measured()  # the times are those of the host
        statistic = "median" if limit.name == "max_chunk_ms" else ""
        for metric in metrics:
            if (metric.name, metric.statistic) == (limit.spec.metric, statistic):
                return _Measured(metric.value, metric.device, "the device decides it, not a stage")
        return _Measured()
    of_evaluator = [metric for metric in metrics if metric.name == limit.spec.metric]
    worst = _worst(of_evaluator, is_least=limit.spec.is_least)
    return _of(worst, metrics, lines, against) if worst else _Measured()


def _worst(metrics: Sequence[Metric], *, is_least: bool) -> Metric | None:
    """Return the worst metric; one that is no number is worse than all others.

    Of equal ones, return that of a label, and not the mean or the whole that only repeats it.
    """

    def rank(metric: Metric) -> tuple[float, bool]:
        value = -math.inf if math.isnan(metric.value) else metric.value
        return value if is_least or math.isnan(metric.value) else -value, not metric.label

    return min(metrics, key=rank, default=None)


def _of(
    metric: Metric, metrics: Sequence[Metric], lines: Sequence[BudgetLine], against: str
) -> _Measured:
    """Return what a metric about an item, or about one of its labels, says."""
    item, label = metric.item, metric.label
    items = {m.item for m in metrics if m.name == metric.name}
    # Every item has a parity, so these metrics name all items.
    every = dict.fromkeys(m.item for m in metrics if m.name == PARITY)
    unanswered = tuple(one for one in every if one not in items) if item in every else ()
    where = f"{label} of {item}" if item and label else item or label
    # A result that is compared with other windows than its own loses by its windows, too.
    compared = bool(against) and against in metric.note
    guilty = _loser(lines, cutting=compared)
    return _Measured(
        metric.value, metric.device, guilty, where, unanswered, against if compared else ""
    )


def _of_probe(line: BudgetLine) -> Iterator[Metric]:
    """Yield the SNR of every label, and over all of them, on the windows that a slow device ran."""
    windows = f"{line.windows} window{'s' if line.windows != 1 else ''}"
    pairs = zip(("", *line.labels), (line.snr_db, *line.label_snr_db), strict=True)
    for label, value in pairs:
        yield Metric(PARITY, value, "dB", line.device, windows, label, better="higher")


def _loser(lines: Sequence[BudgetLine], *, cutting: bool) -> str:
    """Return which stage, or whether the cut into windows, lost the most in the error budget."""
    loss = error_budget.worst(lines, cutting=cutting)
    if loss is None:
        return "no stage lost anything that the error budget shows"
    return f"lost by {loss.line.stage}: {error_budget.said(loss)}"
