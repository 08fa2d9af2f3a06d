"""The record of a run: everything that a report may show, and nothing that was not measured."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from core.exchange import Saved
from core.machine_load import Load
from core.values import Artifact, Metric, Notice, Signature, Target

__all__ = ["BudgetLine", "Judged", "RunRecord", "Rung", "StageRecord"]


@dataclass(frozen=True)
class StageRecord:
    """What one step did, this time or when it was made; `seconds` is what this run spent on it.

    An option may be any JSON value, hence Any.
    """

    name: str
    title: str
    plugin: str
    status: Literal["ran", "kept"]
    seconds: float
    artifact: Artifact
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class BudgetLine:
    """One row of the error budget: SNRs in dB, over all outputs and per label.

    `snr_db` compares with FP32 PyTorch in the same windows. `step_db` is what this stage did by
    itself: its result against that of the row before it. `total_db` is the result against FP32
    PyTorch in the windows of the training, or of the recipe where they are no shorter. None where
    nothing was measured on the same windows, and `note` says why. core/budget.py tells how the rows
    add up.

    `windows` is 0 where the whole input was compared.
    """

    stage: str
    snr_db: float
    device: str
    windows: int = 0
    labels: tuple[str, ...] = ()
    label_snr_db: tuple[float, ...] = ()
    seconds_per_window: float | None = None
    step_db: float | None = None
    label_step_db: tuple[float, ...] = ()
    total_db: float | None = None
    label_total_db: tuple[float, ...] = ()
    note: str = ""


@dataclass(frozen=True)
class Judged:
    """One limit of a contract and what was measured of it; no `value` where nothing answered it.

    `value` is that of the item and the label (a stem, an output) that is furthest from the bound's
    good side: `where` names them in words. `unanswered` are the items that it was not measured of.
    `against` are the windows that FP32 PyTorch had, in words, where these are not those of the run.
    `guilty` says in words which stage lost it, where it was not held.
    """

    name: str
    bound: float
    value: float | None
    unit: str
    device: str
    held: bool
    guilty: str = ""
    where: str = ""
    unanswered: tuple[str, ...] = ()
    against: str = ""


@dataclass(frozen=True)
class Rung:
    """One precision that was tried: whether the contract held there, and if not, why.

    `ranked_by` says in words what `rank` counts, the lower the better; there is none for what
    did not hold. Where it is a time, `spread` is its 5th and its 95th percentile. `refused` rungs
    were never run: the plan, or a stage, said no. `snr_db` is that of the worst label of any item.
    """

    precision: str
    status: Literal["held", "missed", "refused", "not tried"]
    why: str = ""
    contract: tuple[Judged, ...] = ()
    snr_db: float | None = None
    bytes: int | None = None
    rank: float | None = None
    ranked_by: str = ""
    spread: tuple[float, float] | None = None


@dataclass(frozen=True)
class RunRecord:
    """One whole run.

    `contract` is judged in the order of the recipe. `rungs` are the precisions that a ladder or
    the choice of the best tried, this one among them, and `chosen` says why it was taken. `sweep`
    names the sweep that the run is a point of. `against` says in words which windows FP32 PyTorch
    had that quality is compared with: in a sweep over windows those of the best point. `load` is
    what other processes did while the whole input was timed; None where that cannot be told, or
    another machine played.

    `target_took_part` is true only when the target itself computed something: an emulator of it,
    or the same graph on another machine, does not count.
    """

    recipe: str
    title: str
    started: str
    seconds: float
    target: Target
    precision: str
    signature: Signature
    weights: str
    parameters: int
    licence: str
    notices: tuple[Notice, ...]
    stages: tuple[StageRecord, ...]
    budget: tuple[BudgetLine, ...]
    metrics: tuple[Metric, ...]
    saved: tuple[Saved, ...]
    played_on: str
    probed_on: str
    target_took_part: bool
    config: str
    versions: dict[str, str]
    machine: str
    contract: tuple[Judged, ...] = ()
    rungs: tuple[Rung, ...] = ()
    chosen: str = ""
    sweep: str = ""
    load: Load | None = None
    against: str = "the same windows"
