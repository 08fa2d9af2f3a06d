"""A device's own measurements: its compute units, its slowest layers, loading and memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from core.plugin.step_names import PLAY
from plugins.reporter._reading.precision import rows_of
from plugins.reporter._reading.words import duration, listed, megabytes

if TYPE_CHECKING:
    from core.plugin.records import RunRecord
    from core.plugin.values import Row

__all__ = ["Layer", "Profile", "Unit", "profile_of", "unit_shares"]

#: Facts of the device beside its layers: the fact, and its name for a person.
TIMES = {
    "profile_inference_ms": "one window",
    "profile_first_load_ms": "first load",
    "profile_warm_load_ms": "later loads",
    "profile_compile_ms": "compiling on the device",
}
PEAKS = {
    "profile_inference_peak_mb": "peak memory",
    "profile_first_load_peak_mb": "peak memory of the first load",
}
#: A service's facts of its job: seconds in the queue, and the address of its page.
QUEUE, PAGE = "queue_s", "job_page"


@dataclass(frozen=True)
class Unit:
    """A compute unit: how many layers it ran, and its share of the whole cost, 0 to 1."""

    name: str
    layers: int
    share: float


@dataclass(frozen=True)
class Layer:
    """One layer: its name and kind, where it ran, and its cost in words."""

    name: str
    type: str
    unit: str
    cost: str
    share: float


@dataclass(frozen=True)
class Profile:
    """A device's own profile; `said` are the numbers that belong to no single layer."""

    device: str
    layers_in_all: int
    units: tuple[Unit, ...]
    slowest: tuple[Layer, ...]
    said: tuple[tuple[str, str], ...]


def profile_of(record: RunRecord) -> Profile | None:
    """Return the profile of the run: that of the whole input, if any, else of a few windows."""
    found = [s for s in record.stages if "profile_layers" in s.artifact.facts]
    if not found:
        return None
    artifact = next((s for s in found if s.name == PLAY), found[-1]).artifact
    facts = artifact.facts
    units = rows_of(facts.get("profile_units"))
    whole = sum(_cost_of(row) for row in units) or 1.0
    measure = str(facts.get("profile_layer_unit"))
    said = [(name, duration(artifact.number(k) / 1e3)) for k, name in TIMES.items() if k in facts]
    said += [(n, megabytes(artifact.number(k) * 1e6)) for k, n in PEAKS.items() if k in facts]
    if QUEUE in facts:
        said.append(("in the queue", duration(artifact.number(QUEUE))))
    if PAGE in facts:
        said.append(("page of the job", str(facts[PAGE])))
    return Profile(
        str(facts.get("device")),
        int(artifact.number("profile_layer_count")),
        tuple(
            Unit(str(row["unit"]), int(row["layers"] or 0), _cost_of(row) / whole) for row in units
        ),
        tuple(
            Layer(
                str(row["name"]),
                str(row["type"]),
                str(row["unit"]),
                _cost(_cost_of(row), measure),
                _cost_of(row) / whole,
            )
            for row in rows_of(facts.get("profile_layers"))
        ),
        tuple(said),
    )


def _cost_of(row: Row) -> float:
    return float(row["cost"] or 0)


def unit_shares(record: RunRecord) -> str:
    """Return where the layers ran, in one line; empty where no device reports it."""
    profile = profile_of(record)
    if profile is None:
        return ""
    units = listed(f"{100 * u.share:.0f} % on {u.name} ({u.layers} layers)" for u in profile.units)
    top = profile.slowest[0]
    return (
        f"layers: {units}; slowest {top.name} ({top.type}), {top.cost}, "
        f"as measured by {profile.device}"
    )


def _cost(cost: float, measure: str) -> str:
    return duration(cost / 1e3) if measure == "ms" else f"{cost:,.0f} {measure}"


def _texts(fact: object) -> list[str]:
    return [str(entry) for entry in fact] if isinstance(fact, list) else []
