"""The precision in a record: the contract in words, counts, sensitivities, worst tensors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from core.measure.contract import asked, found
from plugins.reporter._reading.words import decibels

if TYPE_CHECKING:
    from collections.abc import Sequence

    from core.plugin.records import Judged, RunRecord
    from core.plugin.values import Row

__all__ = [
    "Part",
    "Tensor",
    "asked",
    "counted",
    "found",
    "nearness",
    "part_of",
    "parts_of",
    "rows_of",
    "tensors_of",
]


@dataclass(frozen=True)
class Part:
    """One part of a graph: its work, the SNR with it alone at 8 or 16 bits, and its level."""

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
    """Return an SNR to FP32 for a headline; rounding never hides that it misses its limit.

    29.96 dB is not "30.0 dB" where at least 30 dB are asked for.
    """
    said = decibels(db)
    limits = (one for one in contract if (one.name, one.value) == ("min_snr_db", db))
    missed = next((one for one in limits if not one.held and round(db, 1) >= one.bound), None)
    return said if missed is None else found(missed)


def part_of(count: int, total: int) -> str:
    """Return a part of a whole in per cent; a part above zero is never called 0 %."""
    if not count or not total:
        return "0 %"
    share = 100 * count / total
    return f"{share:.1f} %" if share >= 0.1 else "< 0.1 %"  # noqa: PLR2004  # one decimal


def counted(fact: object) -> dict[str, int]:
    """Return a fact that counts, the number by its name; empty where there is none."""
    found = fact if isinstance(fact, dict) else {}
    return {name: count for name, count in found.items() if isinstance(count, int)}


def rows_of(fact: object) -> list[Row]:
    """Return the rows of a fact that is a table; empty where there is none."""
    return [row for row in fact if isinstance(row, dict)] if isinstance(fact, list) else []


def parts_of(record: RunRecord) -> list[Part]:
    """Return the rows of the fact `sensitivity`."""
    return [
        Part(
            str(row["name"]),
            int(row["macs"] or 0),
            _decibels(row["snr_8_db"]),
            _decibels(row["snr_16_db"]),
            str(row["level"]),
        )
        for row in _table(record, "sensitivity")
    ]


def tensors_of(record: RunRecord) -> list[Tensor]:
    """Return the rows of the fact `worst_tensors`."""
    return [
        Tensor(str(row["tensor"]), str(row["operator"]), float(row["snr_db"] or 0))
        for row in _table(record, "worst_tensors")
    ]


def _table(record: RunRecord, fact: str) -> list[Row]:
    tables = (rows_of(stage.artifact.facts.get(fact)) for stage in record.stages)
    return next(filter(None, tables), [])


def _decibels(cell: str | float | None) -> float | None:
    return None if cell is None else float(cell)
