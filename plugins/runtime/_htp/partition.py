"""The partition map: which nodes of a graph the NPU took, and which are left to the CPU."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from core import Fact
from core.formats.onnx_graph import operators
from plugins.runtime._htp.process import CompiledContext

__all__ = ["is_whole", "partition_map", "why_split"]

#: Nodes that compute nothing by themselves, and so are not counted.
UNCOUNTED = frozenset({"Constant", "QuantizeLinear", "DequantizeLinear"})

UNKNOWN = "the provider gives no reason"


def is_whole(context: CompiledContext) -> bool:
    """Return whether the whole graph went to the NPU in one piece."""
    return context.partitions == 1 and not context.left


def partition_map(
    context: CompiledContext, source: Path, reasons: Mapping[str, str]
) -> dict[str, Fact]:
    """Return the facts of a compiled context, for the graph at `source` that it came from.

    `npu_op_counts` counts the operators that the NPU took, most frequent first.
    `cpu_nodes` are those that it left, with why, from `reasons` by name.
    """
    import onnx

    left = {name for name, _ in context.left}
    nodes = onnx.load(str(source), load_external_data=False).graph.node
    taken = [n for n in nodes if n.op_type not in UNCOUNTED and n.name not in left]
    return {
        "partitions": context.partitions,
        "nodes_total": context.nodes,
        "nodes_on_npu": context.nodes - len(context.left),
        "nodes_on_cpu": len(context.left),
        "npu_coverage": 1 - len(context.left) / context.nodes,
        "cpu_nodes": [
            {"node": name, "operator": operator, "reason": reasons.get(name, UNKNOWN)}
            for name, operator in context.left
        ],
        "npu_op_counts": operators(taken),
        "context_binary_bytes": context.binary_bytes,
        "compile_s": context.seconds,
        "compiler_peak_memory_mb": context.peak_rss_bytes / 1e6,
    }


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
