"""How the compiler split the graph between the accelerator and the CPU, as one bar."""

from __future__ import annotations

from typing import TYPE_CHECKING

from plugins.reporter._html_run.markup import Html, bar, el, join, legend
from plugins.reporter._reading import counted, rows_of

if TYPE_CHECKING:
    from core.plugin.records import RunRecord

__all__ = ["partitions"]

OPS_SHOWN = 8


def partitions(record: RunRecord) -> Html | None:
    """Return how the compiler split the graph between the accelerator and the CPU."""
    stage = next((s for s in record.stages if "nodes_on_npu" in s.artifact.facts), None)
    if stage is None:
        return None
    facts = stage.artifact.facts
    npu, cpu = _whole(facts.get("nodes_on_npu")), _whole(facts.get("nodes_on_cpu"))
    parts = _whole(facts.get("partitions"))
    ops = sorted(counted(facts.get("npu_op_counts")).items(), key=lambda op: -op[1])
    shown, rest = ops[:OPS_SHOWN], sum(count for _, count in ops[OPS_SHOWN:])
    bars = [(f"op{n}", name, count) for n, (name, count) in enumerate(shown)]
    bars += [("op8", f"{len(ops) - OPS_SHOWN} other kinds", rest)] if rest else []
    bars += [("cpu", "on the CPU", cpu)] if cpu else []
    left = rows_of(facts.get("cpu_nodes"))
    return join(
        el(
            "p",
            f"{npu} of {npu + cpu} nodes are on the accelerator, in {parts} "
            f"partition{'s' if parts != 1 else ''}"
            + (f"; {cpu} stay on the CPU." if cpu else "; nothing is left on the CPU."),
        ),
        bar(
            [(name, f"{label}: {count}", count) for name, label, count in bars],
            ", ".join(f"{label} {count}" for _, label, count in bars),
        ),
        legend([(name, f"{label} {count}") for name, label, count in bars]),
        el(
            "details",
            el("summary", f"The {len(left)} nodes on the CPU, and why"),
            el(
                "ul",
                *(
                    el("li", el("code", f"{one['operator']} {one['node']}"), f": {one['reason']}")
                    for one in left
                ),
                class_="nodes",
            ),
        )
        if left
        else None,
        el(
            "p",
            "The compiler's own assignment, read from the compiled model; not an execution.",
            class_="note",
        ),
    )


def _whole(fact: object) -> int:
    return int(fact) if isinstance(fact, int | float) else 0
