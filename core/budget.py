"""The error budget: the SNR after every stage, and which stage lost the most."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from core.record import BudgetLine
from core.values import Artifact

__all__ = ["Loss", "budget_of", "losses", "worst"]

#: Above this SNR two FP32 computations differ by rounding alone, which is no loss.
ROUNDING_DB = 80.0
#: A smaller loss is not worth a word.
LEAST_DB = 0.1


@dataclass(frozen=True)
class Loss:
    """What one stage lost: its line, the line before it, and the noise power that it added.

    Noise is relative to the power of the signal.
    """

    line: BudgetLine
    before: BudgetLine | None
    noise: float


def budget_of(artifacts: Mapping[str, Artifact]) -> list[BudgetLine]:
    """Return the error budget: a line per stage, then the device, then the chunking."""
    lines = [
        _line(name.removeprefix("budget."), artifact)
        for name, artifact in artifacts.items()
        if name.startswith("budget.")
    ]
    if "probe" in artifacts:
        lines.append(_line("probe", artifacts["probe"]))
    window = artifacts["ideal"].facts.get("window")
    lines.append(
        BudgetLine(
            "chunk",
            artifacts["evaluate"].number("chunk_snr_db"),
            "CPU (PyTorch)",
            note=f"the recipe's windows against those of the training ({window}), whole input",
        )
    )
    return lines


def losses(budget: Sequence[BudgetLine]) -> Iterator[Loss]:
    """Yield every stage that lost something; the chunking is measured alone and is in no chain."""
    chain = [line for line in budget if line.windows]
    for before, line in [*((None, line) for line in chain[:1]), *pairwise(chain)]:
        start = min(before.snr_db if before else ROUNDING_DB, ROUNDING_DB)
        end = min(line.snr_db, ROUNDING_DB)
        if start - end > LEAST_DB:
            yield Loss(line, before, 10 ** (-end / 10) - 10 ** (-start / 10))


def worst(budget: Sequence[BudgetLine]) -> Loss | None:
    """Return the stage that added the most noise; None where none lost anything."""
    return max(losses(budget), key=lambda loss: loss.noise, default=None)


def _line(stage: str, artifact: Artifact) -> BudgetLine:
    facts, seconds = artifact.facts, artifact.numbers("seconds")
    labels = facts["labels"]
    agreement = facts.get("agreement_db")
    return BudgetLine(
        stage=stage,
        snr_db=artifact.number("snr_db"),
        device=str(facts["device"]),
        windows=int(artifact.number("windows")),
        labels=tuple(map(str, labels)) if isinstance(labels, list) else (),
        label_snr_db=tuple(artifact.numbers("label_snr_db")),
        seconds_per_window=sum(seconds) / len(seconds) if seconds else None,
        agreement_db=float(agreement) if isinstance(agreement, float) else None,
    )
