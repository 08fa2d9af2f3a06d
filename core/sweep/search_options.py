"""The options of a search, which Hydra reads at every start: so this file imports nothing heavy."""

from __future__ import annotations

from dataclasses import dataclass, field

__all__ = ["SAMPLERS", "SearchOptions"]

#: What chooses the next point: our own guess (core/sweep/pareto_sampler.py), or a sampler of
#: Optuna's.
SAMPLERS = ("front", "gp", "tpe", "nsgaii", "random")


@dataclass
class SearchOptions:
    """The options of `hydra/sweeper=optuna`."""

    n_trials: int = 20
    """Points to run, those of earlier starts included; what the plan refuses does not count."""
    sampler: str | None = None
    """What chooses: front (where points can be listed), gp, tpe, nsgaii or random; null for front
    or gp."""
    startup: int = 4
    """Points that Optuna's samplers draw at random before they have seen enough."""
    seed: int | None = None
    """Makes the draws the same each time."""
    objectives: list[str] = field(default_factory=list)
    """Figures to search over, such as [sdr,latency,size]; empty for quality, time, memory."""
    study: str | None = None
    """The SQLite file of the study; null for study.db in the sweep's folder."""
    at_once: int = 1
    """Points that are drawn, and launched, together."""
