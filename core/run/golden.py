"""What the self-test of a bundle expects, from one window that was played through what ships."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from core.bundle.golden import Expected, Measured
from core.measure.error_budget import worst_of
from core.plugin.records import BudgetLine
from core.plugin.step_names import PROBE, RUNTIME
from core.plugin.values import Artifact

__all__ = ["expected"]


def expected(
    golden: Artifact, artifacts: Mapping[str, Artifact], budget: Sequence[BudgetLine], source: str
) -> Expected | None:
    """Return the golden window of a run; None where no session here can play one.

    `golden` is what the step made (core/steps/golden.py), and `source` the step whose artifact was
    played.
    """
    if not golden.number("windows"):
        return None
    played = "fallback" if RUNTIME in artifacts and source != RUNTIME else "model"
    return Expected(Path(golden.folder), played, _other(artifacts, budget, source))


def _other(
    artifacts: Mapping[str, Artifact], budget: Sequence[BudgetLine], source: str
) -> Measured:
    """Return how near the artifact that was not played is to the one that was."""
    if PROBE in artifacts:
        facts = artifacts[PROBE]
        return Measured(facts.number("agreement_db"), facts.number("agreement_core_db"))
    row = next((line for line in budget if line.stage == source), None)
    if row is None:
        return Measured()
    if source == RUNTIME:
        return Measured(row.step_db)
    # Nothing ran the compiled one. If it is right, it differs from FP32 as much as its graph does.
    return Measured(worst_of(row.snr_db, row.labels, row.label_snr_db).db)
