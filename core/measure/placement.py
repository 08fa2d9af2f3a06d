"""What computed the nodes of a graph: as facts, in words, and as the number of a limit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from core.plugin.placement import Placed, Placement
from core.plugin.step_names import PLAY, PROBE
from core.plugin.values import Artifact, Fact, Notice

__all__ = [
    "Coverage",
    "coverage_of",
    "facts_of",
    "in_words",
    "left_in_words",
    "placement_in",
    "warned",
]

#: Nodes that a sentence names; it only counts the others.
NAMED = 5


@dataclass(frozen=True)
class Coverage:
    """The share of nodes that ran as asked, 0 to 1, the device that was asked, and what is left.

    `left` says in words what did not run as asked, and which trace says so.
    """

    value: float
    device: str
    left: str


def facts_of(placement: Placement | None) -> dict[str, Fact]:
    """Return a placement as facts of a step; nothing where the runtime has no trace."""
    if placement is None:
        return {}
    return {
        "placement": [
            {
                "device": one.device,
                "precision": one.precision,
                "nodes": one.nodes,
                "asked": one.asked,
            }
            for one in placement.placed
        ],
        "placement_source": placement.source,
        "placement_left": [{"node": node, "operator": kind} for node, kind in placement.left],
        "accelerator_coverage": placement.coverage,
    }


def placement_in(facts: Mapping[str, Fact]) -> Placement | None:
    """Return the placement that facts hold; None where they hold none."""
    rows, left = facts.get("placement"), facts.get("placement_left")
    if not isinstance(rows, list) or not isinstance(left, list):
        return None
    return Placement(
        str(facts.get("placement_source")),
        tuple(
            Placed(
                str(row["device"]),
                int(row["nodes"] or 0),
                str(row["precision"]),
                asked=bool(row["asked"]),
            )
            for row in rows
            if isinstance(row, dict)
        ),
        tuple((str(row["node"]), str(row["operator"])) for row in left if isinstance(row, dict)),
    )


def coverage_of(
    artifacts: Mapping[str, Artifact], shipped: Artifact, title: str
) -> Coverage | None:
    """Return the share of nodes that the runtime of the recipe computed as asked.

    It is that of the step `probe` where the runtime is too slow for whole inputs, and else of
    `play`. A session without a trace may stand on an artifact whose compiler says where nodes go
    (`accelerator_coverage` among the facts of `shipped`, compiled for the device `title`). None
    where neither says anything.
    """
    ran = artifacts.get(PROBE, artifacts.get(PLAY))
    found = placement_in(ran.facts) if ran is not None else None
    if found is not None and ran is not None:
        return Coverage(found.coverage, str(ran.facts.get("device", "")), left_in_words(found))
    value = shipped.facts.get("accelerator_coverage")
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return Coverage(float(value), title, "from the partition map of the compiler")


def in_words(placement: Placement) -> str:
    """Return where all nodes ran: `all 312 nodes on CPU (fp32 300, int8 12), from a profile`."""
    devices: dict[str, dict[str, int]] = {}
    for one in placement.placed:
        counts = devices.setdefault(one.device, {})
        counts[one.precision] = counts.get(one.precision, 0) + one.nodes
    parts = []
    for device, counts in sorted(devices.items(), key=lambda pair: -sum(pair[1].values())):
        named = ", ".join(f"{name} {count}" for name, count in _ordered(counts) if name and count)
        many = sum(counts.values())
        parts.append((many, f"on {device}" + (f" ({named})" if named else "")))
    total = placement.nodes
    plural = "s" if total != 1 else ""
    if len(parts) == 1:
        said = f"{'all ' if total > 1 else ''}{total} node{plural} {parts[0][1]}"
    else:
        first, *rest = parts
        others = "".join(f", {many} {where}" for many, where in rest)
        said = f"{first[0]} of {total} node{plural} {first[1]}{others}"
    return f"{said}, from {placement.source}"


def left_in_words(placement: Placement) -> str:
    """Return what did not run as asked, with the names of a few nodes; "" if everything did."""
    if not placement.unasked:
        return ""
    count = sum(one.nodes for one in placement.unasked)
    where = ", ".join(
        f"{one.nodes} on {one.device}" + (f" in {one.precision}" if one.precision else "")
        for one in placement.unasked
    )
    said = f"{count} of {placement.nodes} node{'s' if placement.nodes != 1 else ''} did not run as "
    said += f"asked ({where}), from {placement.source}"
    named = [f"{kind} `{node}`" if node else kind for node, kind in placement.left[:NAMED]]
    if not named:
        return said
    more = count - len(named)
    return f"{said}: {', '.join(named)}" + (f" and {more} more" if more > 0 else "")


def warned(placement: Placement | None) -> list[Notice]:
    """Return a warning of what did not run as asked; none where everything did."""
    left = left_in_words(placement) if placement is not None else ""
    return [Notice("warning", left)] if left else []


def _ordered(counts: Mapping[str, int]) -> list[tuple[str, int]]:
    return sorted(counts.items(), key=lambda pair: -pair[1])
