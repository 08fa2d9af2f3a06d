"""A device's own measurements as flat facts: times in ms, memory in MB, slowest layers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from core import Fact, Placed, Placement

__all__ = ["facts_of", "placement_of"]

#: The compute unit that a compiled model is for, and the name of the trace.
ASKED, SOURCE = "NPU", "Qualcomm AI Hub's profile"
#: Layers that a placement names.
NAMED = 36
#: Layers that are kept by name: fast ones are only counted with their compute unit.
SLOWEST = 30
#: The client's name of a time in µs, and our name.
TIMES = {
    "estimated_inference_time": "profile_inference_ms",
    "first_load_time": "profile_first_load_ms",
    "warm_load_time": "profile_warm_load_ms",
    "compile_time": "profile_compile_ms",
}
#: The client's names of a peak in bytes, an upper bound before an estimate, and our name.
PEAKS = {
    "profile_inference_peak_mb": ("inference_memory_peak_range", "estimated_inference_peak_memory"),
    "profile_first_load_peak_mb": ("first_load_memory_peak_range", "first_load_peak_memory"),
    "profile_warm_load_peak_mb": ("warm_load_memory_peak_range", "warm_load_peak_memory"),
}


def facts_of(profile: Mapping[str, Any]) -> dict[str, Fact]:
    """Return a profile of the client (`InferenceJob.download_profile`) as facts; {} for none."""
    if not profile:
        return {}
    summary, layers = profile["execution_summary"], list(profile["execution_detail"])
    facts: dict[str, Fact] = {}
    for theirs, ours in TIMES.items():
        if _is_count(summary.get(theirs)):
            facts[ours] = summary[theirs] / 1e3
    for ours, candidates in PEAKS.items():
        found = [_upper(summary.get(name)) for name in candidates]
        peak = next((value for value in found if value), 0)
        if peak:
            facts[ours] = peak / 1e6
    # A device reports the time of a layer, or its cycles; the share uses the one that exists.
    measure = "execution_time" if any("execution_time" in one for one in layers) else (
        "execution_cycles"
    )  # fmt: skip
    if layers:
        facts |= _layers(layers, measure)
    return facts


def placement_of(profile: Mapping[str, Any]) -> Placement | None:
    """Return which compute unit ran each layer of a profile; None where it names none.

    The NPU is asked for. The profile does not say at which precision a layer ran.
    """
    layers = profile["execution_detail"] if profile else ()
    counts = Counter(str(layer["compute_unit"]) for layer in layers)
    if not counts:
        return None
    left = [
        (str(layer["name"]), str(layer["type"]))
        for layer in layers
        if layer["compute_unit"] != ASKED
    ]
    placed = (Placed(unit, nodes, asked=unit == ASKED) for unit, nodes in counts.most_common())
    return Placement(SOURCE, tuple(placed), tuple(left[:NAMED]))


def _layers(layers: list[Mapping[str, Any]], measure: str) -> dict[str, Fact]:
    units: dict[str, tuple[int, float]] = {}
    for layer in layers:
        count, cost = units.get(layer["compute_unit"], (0, 0.0))
        units[layer["compute_unit"]] = (count + 1, cost + layer.get(measure, 0))
    ordered = sorted(units.items(), key=lambda unit: -unit[1][1])
    slowest = sorted(layers, key=lambda layer: -layer.get(measure, 0))[:SLOWEST]
    scale = 1e3 if measure == "execution_time" else 1.0
    return {
        "profile_layer_count": len(layers),
        "profile_layer_unit": "ms" if measure == "execution_time" else "cycles",
        "profile_units": [
            {"unit": name, "layers": count, "cost": cost / scale} for name, (count, cost) in ordered
        ],
        "profile_layers": [
            {
                "name": str(layer["name"]),
                "type": str(layer["type"]),
                "unit": str(layer["compute_unit"]),
                "cost": layer.get(measure, 0) / scale,
            }
            for layer in slowest
        ],
    }


def _is_count(value: object) -> bool:
    # The client writes None, and older services 0, for values that were not measured.
    return isinstance(value, int) and value > 0


def _upper(value: object) -> int:
    """Return a peak in bytes: the upper end of a range, or the estimate; 0 for none."""
    if isinstance(value, tuple):
        return max((v for v in value if _is_count(v)), default=0)
    return int(value) if isinstance(value, int) and _is_count(value) else 0
