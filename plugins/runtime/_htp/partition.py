"""The partition map: which nodes of a graph the NPU took, and which are left to the CPU."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from core import Fact, Placed, Placement
from core.formats.onnx_graph import operators
from core.formats.onnx_placement import NAMED, Executed
from core.formats.precision_census import precision_by_node
from plugins.runtime._htp.library import EP_NAME
from plugins.runtime._htp.process import CompiledContext

__all__ = ["is_whole", "partition_map", "placement_of", "why_split"]

#: Nodes that compute nothing by themselves, and so are not counted.
UNCOUNTED = frozenset({"Constant", "QuantizeLinear", "DequantizeLinear"})

#: The device of the placement, and what it was read from.
EMULATED = "HTP (emulated)"
SOURCE = "ONNX Runtime's profile and the compiler's partition map"
UNKNOWN = "the provider gives no reason"


def is_whole(context: CompiledContext) -> bool:
    """Return whether the whole graph went to the NPU in one piece."""
    return context.partitions == 1 and not context.left


def partition_map(
    context: CompiledContext, source: Path, reasons: Mapping[str, str]
) -> dict[str, Fact]:
    """Return the facts of a compiled context, for the graph at `source` that it came from.

    `npu_op_counts` counts the operators that the NPU took, most frequent first, and
    `npu_nodes_by_precision` those that compute a signal, at the precision that the graph gives
    them; the NPU computes floats in FP16. `cpu_nodes` are those that it left, with why, from
    `reasons` by name.
    """
    import onnx

    left = {name for name, _ in context.left}
    model = onnx.load(str(source), load_external_data=False)
    taken = [n for n in model.graph.node if n.op_type not in UNCOUNTED and n.name not in left]
    known = precision_by_node(model)
    precisions = Counter(known[n.output[0]] for n in taken if n.output[0] in known)
    return {
        "partitions": context.partitions,
        "nodes_total": context.nodes,
        "nodes_on_npu": context.nodes - len(context.left),
        "nodes_on_cpu": len(context.left),
        "accelerator_coverage": 1 - len(context.left) / context.nodes,
        "cpu_nodes": [
            {"node": name, "operator": operator, "reason": reasons.get(name, UNKNOWN)}
            for name, operator in context.left
        ],
        "npu_op_counts": operators(taken),
        "npu_nodes_by_precision": {
            "fp16" if name == "fp32" else name: count for name, count in precisions.most_common()
        },
        "context_binary_bytes": context.binary_bytes,
        "compile_s": context.seconds,
        "compiler_peak_memory_mb": context.peak_rss_bytes / 1e6,
    }


def placement_of(facts: Mapping[str, Fact], executed: Sequence[Executed]) -> Placement | None:
    """Return what computed each node of a compiled model that the emulator ran.

    `executed` are the nodes of the compiled model that ran. A piece on the NPU is one of them;
    `facts`, those of the compiled model, say how many nodes of the graph it holds. None where they
    do not.
    """
    inside, precisions = facts.get("nodes_on_npu"), facts.get("npu_nodes_by_precision")
    if not isinstance(inside, int) or not isinstance(precisions, dict):
        return None
    counted = {name: count for name, count in precisions.items() if isinstance(count, int)}
    rest = inside - sum(counted.values())
    placed = [Placed(EMULATED, count, name) for name, count in counted.items()]
    placed += [Placed(EMULATED, rest)] if rest > 0 else []
    if not any(one.provider == EP_NAME for one in executed):
        placed = []
    outside = [one for one in executed if one.provider != EP_NAME and one.operator not in UNCOUNTED]
    for precision, count in Counter(one.precision for one in outside).items():
        placed.append(Placed("CPU", count, precision, asked=False))
    left = tuple((one.name, one.operator) for one in outside)
    return Placement(SOURCE, tuple(placed), left[:NAMED]) if placed else None


def why_split(context: CompiledContext, reasons: Mapping[str, str]) -> str:
    """Return one sentence on which nodes the NPU rejected, and why."""
    text = (
        f"the NPU takes this graph in {context.partitions} pieces and leaves {len(context.left)} "
        "node(s) to the CPU"
    )
    if not context.left:
        return text
    name, operator = context.left[0]
    return f"{text}, the first: {operator} {name} ({reasons.get(name, UNKNOWN)})"
