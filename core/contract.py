"""The contract: what a recipe must hold, and whether a run held it.

    contract: {min_snr_db: 30, max_sdr_drop_db: 0.3, max_chunk_ms: 150}

Some limits are about any model and stand here; evaluators add their own (`Evaluator.limits`). A
limit that no measurement answers is not held: silence is no proof.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from core import budget
from core.errors import ConfigError, MisfitError
from core.record import BudgetLine, Judged
from core.values import Artifact, Metric

if TYPE_CHECKING:
    from core.assembly import Assembly
    from core.kinds import Evaluator
    from core.registry import Registry

__all__ = [
    "OWN",
    "Limit",
    "check",
    "judge",
    "limits_of",
    "lowest_parity",
    "missed",
    "schema",
    "spoken",
    "story",
]


@dataclass(frozen=True)
class Limit:
    """One line of a contract: its name in the recipe and the bound that it sets."""

    name: str
    bound: float

    @property
    def is_least(self) -> bool:
        """Return whether the measure must reach the bound, and not stay under it."""
        return self.name.startswith("min_")

    @property
    def unit(self) -> str:
        """Return the unit that the name ends in, as a person writes it; "" for a part of one."""
        return {"db": "dB", "ms": "ms", "mb": "MB"}.get(self.name.rpartition("_")[2], "")


#: The limits that are about any model, with what each is compared with.
OWN: Mapping[str, str] = {
    "min_snr_db": "the lowest SNR of an item against FP32 PyTorch with the same windows, and of "
    "the windows on a device that is too slow for whole inputs",
    "max_chunk_ms": "the median time of one window on the device that played the input",
    "max_real_time_factor": "compute time over playing time",
    "max_memory_mb": "peak memory of the process that played the input",
    "max_size_mb": "size of what goes to the device",
    "min_npu_coverage": "part of the graph's nodes that the accelerator took, 0 to 1",
}
#: What only a device that plays whole inputs can answer.
TIMED = frozenset({"max_chunk_ms", "max_real_time_factor", "max_memory_mb"})


def schema(registry: Registry) -> type[Any]:
    """Return the options of a contract: every limit that the core or an evaluator knows."""
    names = dict.fromkeys(OWN)
    for entry in registry.entries["evaluator"].values():
        names |= dict.fromkeys(cast("type[Evaluator[Any]]", entry.cls).limits)
    fields = [(name, float | None, dataclasses.field(default=None)) for name in names]
    return dataclasses.make_dataclass("Contract", fields)


def limits_of(node: Mapping[str, float | None]) -> tuple[Limit, ...]:
    """Return the limits that a recipe sets; raises ConfigError for what is no mapping of them."""
    if not isinstance(node, Mapping):
        raise ConfigError(
            f"`contract` cannot be `{node}`", "it takes limits by name: contract.<limit>=..."
        )
    limits = tuple(Limit(str(name), bound) for name, bound in node.items() if bound is not None)
    for limit in limits:
        # Nothing is above or below what is no number: any result would hold.
        if math.isnan(limit.bound):
            raise ConfigError(f"`contract.{limit.name}` is no number", "give a bound, or null")
    return limits


def check(assembly: Assembly, registry: Registry) -> None:
    """Raise MisfitError for a limit that the recipe cannot answer, before anything runs."""
    where = f"recipe: {assembly.recipe}"
    answered = {name for evaluator in assembly.evaluator for name in evaluator.limits}
    for limit in assembly.contract:
        if limit.name in TIMED and not assembly.runtime.plays:
            raise MisfitError(
                f"`contract.{limit.name}` cannot be judged: runtime `{assembly.runtime.name}` is "
                "no measure of the device's speed or memory",
                where,
                "choose a runtime that plays on the device, or drop it: "
                f"contract.{limit.name}=null",
            )
        if limit.name not in OWN and limit.name not in answered:
            fitting = [
                name
                for name, entry in registry.entries["evaluator"].items()
                if limit.name in cast("type[Evaluator[Any]]", entry.cls).limits
            ]
            raise MisfitError(
                f"`contract.{limit.name}` cannot be judged: no evaluator of the recipe measures it",
                where,
                f"add one that does: evaluator=[{','.join(fitting)}]",
            )


def judge(
    assembly: Assembly,
    shipped: Artifact,
    metrics: Sequence[Metric],
    lines: Sequence[BudgetLine],
) -> tuple[Judged, ...]:
    """Return every limit of the contract with what a run measured of it.

    `lines` are its error budget. What an evaluator measured counts as the mean over the items, and
    over their labels where the evaluator gives no mean itself.
    """
    return tuple(_judged(assembly, limit, shipped, metrics, lines) for limit in assembly.contract)


def lowest_parity(metrics: Sequence[Metric]) -> Metric | None:
    """Return the metric of the item that is furthest from FP32 PyTorch with the same windows."""
    found = [m for m in metrics if m.name == "parity_snr" and m.subject.endswith(": all")]
    return min(found, key=lambda metric: metric.value, default=None)


def missed(judged: Sequence[Judged]) -> list[Judged]:
    """Return the limits that were not held."""
    return [one for one in judged if not one.held]


def story(one: Judged) -> str:
    """Return one sentence: the limit, what was measured, by how much it missed, and who lost it."""
    unit = f" {one.unit}" if one.unit else ""
    word = "at least" if one.name.startswith("min_") else "at most"
    if one.value is None:
        return f"`{one.name}` asks for {word} {one.bound:g}{unit}, and nothing measured it"
    said = f"`{one.name}` asks for {word} {one.bound:g}{unit}: {spoken(one.value)}{unit}"
    said += f" on {one.device}" if one.device else ""
    if one.held:
        return said
    guilty = f"; {one.guilty}" if one.guilty else ""
    return f"{said}, {abs(one.value - one.bound):.3g}{unit} off{guilty}"


def spoken(value: float) -> str:
    """Return a measured number with the digits that mean something to a person."""
    return f"{round(value, 3):.5g}"


def _judged(
    assembly: Assembly,
    limit: Limit,
    shipped: Artifact,
    metrics: Sequence[Metric],
    lines: Sequence[BudgetLine],
) -> Judged:
    value, device, guilty = _measured(assembly, limit, shipped, metrics, lines)
    held = value is not None and (value >= limit.bound if limit.is_least else value <= limit.bound)
    return Judged(limit.name, limit.bound, value, limit.unit, device, held, "" if held else guilty)


def _measured(
    assembly: Assembly,
    limit: Limit,
    shipped: Artifact,
    metrics: Sequence[Metric],
    lines: Sequence[BudgetLine],
) -> tuple[float | None, str, str]:
    """Return the number that a limit is compared with, its device, and which stage decides it."""
    if limit.name == "max_size_mb":
        return shipped.bytes / 1e6, "the file", f"made by {shipped.steps[-1]}"
    if limit.name == "min_npu_coverage":
        value = shipped.facts.get("npu_coverage")
        known = isinstance(value, int | float)
        return float(value) if known else None, assembly.target.title, "lost by runtime"  # type: ignore[arg-type]  # `known` says so
    if limit.name == "min_snr_db":
        lowest = lowest_parity(metrics)
        values = [(lowest.value, lowest.device)] if lowest else []
        values += [(line.snr_db, line.device) for line in lines if line.stage == "probe"]
        least, device = min(values, default=(None, ""))
        return least, device, _loser(lines)
    if limit.name in TIMED:
        name, subject = {
            "max_chunk_ms": ("latency", "median"),
            "max_real_time_factor": ("real_time_factor", ""),
        }.get(limit.name, ("peak_memory", None))
        for metric in metrics:
            if metric.name == name and subject in (None, metric.subject):
                return metric.value, metric.device, "the device decides it, not a stage"
        return None, "", ""
    name = next(e.limits[limit.name] for e in assembly.evaluator if limit.name in e.limits)
    found = [metric for metric in metrics if metric.name == name]
    found = [m for m in found if m.subject.endswith((": mean", ": all"))] or found
    if not found:
        return None, "", ""
    return sum(m.value for m in found) / len(found), found[0].device, _loser(lines)


def _loser(lines: Sequence[BudgetLine]) -> str:
    """Return which stage lost the most, as the error budget has it."""
    loss = budget.worst(lines)
    if loss is None:
        return "no stage lost anything that the error budget shows"
    start = f"{loss.before.snr_db:.1f} → " if loss.before else "down to "
    return f"lost by {loss.line.stage}: {start}{loss.line.snr_db:.1f} dB"
