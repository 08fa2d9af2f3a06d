"""The record of a run: everything that a report may show, and nothing that was not measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from core.machine.machine_load import Load
from core.plugin.placement import Placement
from core.plugin.stages import SavedFile
from core.plugin.values import Artifact, Metric, Notice, Signature, Target

__all__ = [
    "Axis",
    "BatchRecord",
    "BudgetLine",
    "CandidateRecord",
    "Failed",
    "Judged",
    "PlacementRecord",
    "PlanRecord",
    "PlayedItem",
    "Point",
    "RunRecord",
    "StageRecord",
    "Status",
    "SweepMetric",
    "SweepRecord",
    "compiled_only",
    "label_of",
    "named",
    "passed_over",
]


@dataclass(frozen=True)
class PlanRecord:
    """The plan of a run: its `steps` by name, of which the store lacks `to_run`."""

    recipe: str
    title: str
    target: Target
    precision: str
    steps: tuple[str, ...]
    to_run: int


@dataclass(frozen=True)
class StageRecord:
    """One step, run now or taken from the store; `seconds` is the time that this run spent on it.

    An option may be any JSON value, hence Any.
    """

    name: str
    title: str
    plugin: str
    status: Literal["ran", "cached"]
    seconds: float
    artifact: Artifact
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class BudgetLine:
    """One row of the error budget: SNRs in dB, over all outputs and per label.

    `snr_db` compares with FP32 PyTorch in the same windows. `step_db` is the loss of this
    stage alone: its result against that of the row before it. `total_db` is the result against FP32
    PyTorch in the windows of the training, or of the recipe where they are no shorter. Either is
    None where nothing was measured on the same windows; `note` says why.
    core/measure/error_budget.py explains how the rows add up.

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
    """One limit of a contract and its measured `value`; None where nothing measured it.

    `value` is that of the worst item and label (a stem, an output); `where` names them in words.
    `unanswered` are the items that it was not measured on. `against` describes the windows of FP32
    PyTorch where they differ from those of the run. `guilty` says in words which stage lost most,
    where the limit was not held. `is_least` marks a bound that must be reached; other bounds must
    not be exceeded. `waived` says why the limit could not be judged and does not count; then it
    has no value, and is `held`.
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
    is_least: bool = False
    waived: str = ""


@dataclass(frozen=True)
class PlacementRecord:
    """What computed the nodes in a step that runs the graph: `play`, or `probe`.

    `plugin` names the runtime, and `device` says in words what it ran on. `placement` is None where
    the runtime has no trace, so that nothing is known of the nodes.
    """

    step: str
    plugin: str
    device: str
    placement: Placement | None


@dataclass(frozen=True)
class PlayedItem:
    """One item that was played whole, and how it was cut into windows.

    The steps that play (`reference`, `ideal`, `play`) keep its outputs as `<id>/<output>` in their
    file of tensors. `cuts` holds, per axis that the windows cut, where each window starts and
    stops, in samples of the input; neighbours overlap.
    """

    id: str
    name: str
    cuts: dict[str, tuple[tuple[int, int], ...]]


@dataclass(frozen=True)
class CandidateRecord:
    """One precision that was tried: whether the contract held there, and if not, why.

    `ranked_by` says in words what `rank` measures, the lower the better; a precision that did not
    hold has none. If `rank` is a time, `spread` holds its 5th and its 95th percentile. The plan or
    a stage rejected a `refused` one. `snr_db` is that of the worst label of any item.
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

    `contract` is judged in the order of the recipe. `candidates` are the precisions that a ladder
    or the choice of the best tried, this one included; `chosen` says why this one was taken.
    `sweep` names the sweep that the run is a point of. `against` describes the windows of FP32
    PyTorch that quality is compared with: in a sweep over windows, those of the best point. `load`
    is the load from other processes while the whole input was timed; None where it is unknown, or
    where another machine played. `items` are those that were played whole, in order.
    `command` runs it again.

    `target_took_part` is true only when the target itself computed something: an emulator of it,
    or the same graph on another machine, does not count. `never_run` says why nothing here ran the
    compiled model at all; empty where something did, or where nothing was compiled.
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
    saved: tuple[SavedFile, ...]
    played_on: str
    probed_on: str
    target_took_part: bool
    config: str
    versions: dict[str, str]
    machine: str
    contract: tuple[Judged, ...] = ()
    candidates: tuple[CandidateRecord, ...] = ()
    chosen: str = ""
    sweep: str = ""
    load: Load | None = None
    against: str = "the same windows"
    never_run: str = ""
    placements: tuple[PlacementRecord, ...] = ()
    items: tuple[PlayedItem, ...] = ()
    command: str = ""


def compiled_only(why: str) -> str:
    """Return in words that nothing ran the compiled model, and why."""
    return f"compiled, never run: {why}"


#: How many items a line of text names; the manifest has them all.
NAMED = 5


@dataclass(frozen=True)
class Failed:
    """An item that could not be played: its path below the batch's root, and why."""

    source: str
    reason: str
    retries: int = 0


@dataclass(frozen=True)
class BatchRecord:
    """One run over a batch.

    Of `items` in all, this run played `played` and earlier runs `done_before`. `covered_s` is the
    total duration of the items that this run played, 0 where inputs have no rate. `seconds` is how
    long playing took, opening the model included. `processes` counts those that died, too.
    """

    recipe: str
    title: str
    started: str
    seconds: float
    items: int
    played: int
    done_before: int
    failed: tuple[Failed, ...]
    covered_s: float
    processes: int
    device: str
    notices: tuple[Notice, ...]

    @property
    def real_time_factor(self) -> float | None:
        """Return seconds per second that was played; None where there is nothing to compare."""
        return self.seconds / self.covered_s if self.covered_s and self.seconds else None


def named(sources: Sequence[str]) -> str:
    """Return the first few items of a list, and how many more there are."""
    more = len(sources) - NAMED
    return ", ".join(sources[:NAMED]) + (f" and {more} more" if more > 0 else "")


def passed_over(lines: int) -> str:
    """Return the warning about lines of a manifest that were skipped."""
    return (
        f"{lines} lines of the manifest are ignored: they are damaged, or name a place outside the "
        "batch; items that no other line names are played again"
    )


#: done: ran, and held its contract, if there is one; missed: ran, and did not hold it;
#: refused: the plan, or a device's compiler, rejected it; failed: a stage failed.
Status = Literal["done", "missed", "refused", "failed"]


@dataclass(frozen=True)
class Axis:
    """One key that the sweep varies, with its values as they stand on the command line."""

    key: str
    values: tuple[str, ...]


@dataclass(frozen=True)
class SweepMetric:
    """One measure that points are compared by.

    `objective` marks a measure that the front is drawn over; the first objective is the quality.
    `plotted` marks another measure that gets a picture against the quality.
    """

    name: str
    title: str
    unit: str
    better: Literal["higher", "lower"]
    objective: bool = False
    plotted: bool = False


@dataclass(frozen=True)
class Point:
    """One combination of values, and its result.

    `figures` holds the measured values by the figure's name, and `devices` the device of each. For
    times, `spreads` holds the 5th and the 95th percentile, and `load` the load from other
    processes; None where it is unknown. `folder` is its run folder, relative to that of the sweep,
    empty where it left none; `command` runs it again.
    `ran` names the steps that this point computed, `cached` those that it took from the store.
    `front` says that no other point beats it in every objective.
    """

    number: int
    values: dict[str, str]
    status: Status
    command: str
    why: str = ""
    figures: dict[str, float] = field(default_factory=dict)
    devices: dict[str, str] = field(default_factory=dict)
    folder: str = ""
    ran: tuple[str, ...] = ()
    cached: tuple[str, ...] = ()
    seconds: float = 0.0
    front: bool = False
    spreads: dict[str, tuple[float, float]] = field(default_factory=dict)
    load: Load | None = None

    @property
    def under_load(self) -> bool:
        """Return whether other processes slowed down what was timed."""
        return self.load is not None and self.load.heavy

    @property
    def label(self) -> str:
        """Return the values in a line: `length=22050 precision=int8`."""
        return label_of(self.values)


@dataclass(frozen=True)
class SweepRecord:
    """One whole sweep.

    `winner` is the number of the point that is taken, None where none holds; `why` says why.
    `notices` are what a person must know; `command` repeats the sweep.
    """

    recipe: str
    title: str
    command: str
    started: str
    seconds: float
    axes: tuple[Axis, ...]
    figures: tuple[SweepMetric, ...]
    points: tuple[Point, ...]
    winner: int | None
    why: str
    machine: str
    versions: dict[str, str]
    contract: dict[str, float] = field(default_factory=dict)
    notices: tuple[str, ...] = ()


def label_of(values: Mapping[str, str]) -> str:
    """Return the values of a point in a line, by the last parts of their keys."""
    return " ".join(f"{key.rpartition('.')[2]}={value}" for key, value in values.items())
