"""What a record says of precision: the contract in words, counts, sensitivities, worst tensors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from core.formats.precision_census import counts_in
from core.measure.contract import asked, found
from plugins.reporter._reading.words import decibels

if TYPE_CHECKING:
    from collections.abc import Sequence

    from core.plugin.records import Judged, RunRecord

__all__ = [
    "Part",
    "Tensor",
    "asked",
    "counted",
    "found",
    "nearness",
    "part_of",
    "parts_of",
    "tensors_of",
]


@dataclass(frozen=True)
class Part:
    """One part of a graph: its work, the SNR with it alone at 8 or 16 bits, and what it got."""

    name: str
    macs: int
    db_8: float | None
    db_16: float | None
    level: str


@dataclass(frozen=True)
class Tensor:
    """One tensor inside a quantised graph, and its SNR against the float graph in dB."""

    name: str
    operator: str
    snr_db: float


def nearness(db: float, contract: Sequence[Judged]) -> str:
    """Return an SNR to FP32 as a headline has it: one that misses its limit looks so.

    29.96 dB is not "30.0 dB" where at least 30 dB are asked for.
    """
    said = decibels(db)
    limits = (one for one in contract if (one.name, one.value) == ("min_snr_db", db))
    missed = next((one for one in limits if not one.held and round(db, 1) >= one.bound), None)
    return said if missed is None else found(missed)


def part_of(count: int, total: int) -> str:
    """Return a part of a whole in per cent; what is there is never called 0 %."""
    if not count or not total:
        return "0 %"
    share = 100 * count / total
    return f"{share:.1f} %" if share >= 0.1 else "< 0.1 %"  # noqa: PLR2004  # one decimal


def counted(fact: object) -> dict[str, int]:
    """Return what a census counted, the number by its name; nothing where there was none."""
    return counts_in(fact) if isinstance(fact, list) else {}


def parts_of(record: RunRecord) -> list[Part]:
    """Read the fact `sensitivity`: `name|macs|snr_8_db|snr_16_db|level`, split from the right."""
    parts = []
    for line in _lines(record, "sensitivity"):
        name, macs, db_8, db_16, level = line.rsplit("|", 4)
        parts.append(Part(name, int(macs), _decibels(db_8), _decibels(db_16), level))
    return parts


def tensors_of(record: RunRecord) -> list[Tensor]:
    """Read the fact `worst_tensors`: `name|operator|snr_db`, split from the right."""
    tensors = []
    for line in _lines(record, "worst_tensors"):
        name, operator, snr_db = line.rsplit("|", 2)
        tensors.append(Tensor(name, operator, float(snr_db)))
    return tensors


def _lines(record: RunRecord, fact: str) -> list[str]:
    lists = (stage.artifact.facts.get(fact) for stage in record.stages)
    return next(([str(line) for line in found] for found in lists if isinstance(found, list)), [])


def _decibels(text: str) -> float | None:
    return float(text) if text else None
