"""The error budget read: the rows of a run, and which stage lost the most.

Every row compares the result of a stage with that of the row before it, on the same windows, as
S / |y_k - y_(k-1)|²: S is the power of y_0, FP32 PyTorch in the windows of the training, or in
those of the recipe where they are no shorter. The error of the last row is the sum of all these
differences, and since the errors of different stages are hardly correlated, their powers add up:

    |y_n - y_0|² ≈ Σ |y_k - y_(k-1)|²        so  total_db ≈ -10·log10 Σ 10^(-step_db / 10)

The loss of a stage is therefore `step_db`, the lower the worse, whatever the stages around it did.
The sum holds label by label; over several outputs `step_db` is that of the worst
(core/measure/metrics.py). The rows are measured in core/measure/error_budget_rows.py.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from core.plugin.records import BudgetLine
from core.plugin.step_names import BUDGET, PLAY
from core.plugin.values import Artifact

__all__ = [
    "CUT",
    "LEAST_DB",
    "ROUNDING_DB",
    "WHOLE",
    "Loss",
    "Worst",
    "budget_of",
    "losses",
    "said",
    "worst",
    "worst_of",
]

#: The first and the last row, which are no stage of the recipe: the cut into windows, and the
#: whole input.
CUT, WHOLE = "chunk", PLAY
#: Above this SNR two FP32 computations differ by rounding alone, which is no loss.
ROUNDING_DB = 80.0
#: A smaller loss of quality is not mentioned.
LEAST_DB = 0.1


@dataclass(frozen=True)
class Worst:
    """The label with the largest error of a row, in dB; no label where there is only one."""

    label: str
    db: float


@dataclass(frozen=True)
class Loss:
    """What one stage lost: its row, the stage row before it, and where it lost most."""

    line: BudgetLine
    before: BudgetLine | None
    worst: Worst


def budget_of(artifacts: Mapping[str, Artifact]) -> list[BudgetLine]:
    """Return the error budget: the cut, a row per stage, the device, and the whole input."""
    file = Path(artifacts[BUDGET].path)
    return msgspec.json.decode(file.read_bytes(), type=list[BudgetLine])


def worst_of(overall: float, labels: Sequence[str], values: Sequence[float]) -> Worst:
    """Return the lowest label; `overall`, without label, if that is lower or there is only one."""
    pairs = zip(labels, values, strict=True)
    label, lowest = min(pairs, key=lambda pair: pair[1], default=("", overall))
    if len(values) < 2 or lowest > overall:  # noqa: PLR2004  # one label is everything
        return Worst("", min(overall, lowest))
    return Worst(label, lowest)


def losses(budget: Sequence[BudgetLine], *, cutting: bool = True) -> Iterator[Loss]:
    """Yield every row that lost more than rounding, by its worst label.

    `cutting` includes the loss by the cut; a comparison with FP32 in the same windows has none.
    """
    before: BudgetLine | None = None
    for line in budget:
        if line.step_db is not None and (cutting or line.stage != CUT):
            found = worst_of(line.step_db, line.labels, line.label_step_db)
            if found.db < ROUNDING_DB:
                yield Loss(line, before, found)
        if line.stage != CUT:
            before = line


def worst(budget: Sequence[BudgetLine], *, cutting: bool = False) -> Loss | None:
    """Return the row that lost the most at its worst label; None where none lost anything."""
    return min(losses(budget, cutting=cutting), key=lambda loss: loss.worst.db, default=None)


def said(loss: Loss) -> str:
    """Return what a row lost, in words: `35.9 dB against the step before it, 31.2 dB in vocals`."""
    step = loss.line.step_db
    assert step is not None, "a row without a comparison loses nothing"
    where = f", {loss.worst.db:.1f} dB in {loss.worst.label}" if loss.worst.label else ""
    return f"{step:.1f} dB against the step before it{where}"
