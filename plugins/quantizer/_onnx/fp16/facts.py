"""Facts and notices of a graph in FP16: how much is FP16, which nodes are not, and why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from core import Fact, Notice
from core.formats.onnx_graph import operators
from plugins.quantizer._onnx.fp16.limits import LARGEST, Cause, Reason, rank

if TYPE_CHECKING:
    import onnx

    from plugins.quantizer._onnx.calibration.observe import Observer

__all__ = ["facts_of", "notices_of", "range_facts"]

#: Most nodes that a notice names, and that the facts list.
NAMED, LISTED = 3, 40


def notices_of(reasons: Sequence[Reason], seen: Observer | None) -> tuple[Notice, ...]:
    """Return the notices: values that FP16 could not hold, and nodes that no window checked."""
    notices = []
    if seen is None:
        text = (
            "no calibration data: every operator that sums or squares stays in FP32, and other "
            "overflow is not noticed; name data with calibration=<dataset>"
        )
        notices.append(Notice("info", text))
    over = [r for r in reasons if r.cause is Cause.overflow]
    if over:
        text = (
            f"{len(over)} node(s) exceed FP16's {LARGEST:,.0f} and stay in FP32; an NPU without "
            f"FP32 (HTP) still overflows there: {_named(over)}"
        )
        notices.append(Notice("warning", text))
    sums = [r for r in reasons if r.cause is Cause.overflowing_sum]
    if sums:
        text = (
            f"{len(sums)} node(s) have sums above FP16's {LARGEST:,.0f} and stay in FP32; on a "
            f"device without FP32 they need a wider accumulator: {_named(sums)}"
        )
        notices.append(Notice("info", text))
    return tuple(notices)


def _named(reasons: Sequence[Reason]) -> str:
    """Name the worst few."""
    more = f", and {len(reasons) - NAMED} more" if len(reasons) > NAMED else ""
    return "; ".join(map(str, sorted(reasons, key=rank)[:NAMED])) + more


def range_facts(reasons: Sequence[Reason], seen: Observer | None) -> dict[str, Fact]:
    """Return how many windows were observed, and the nodes that they keep in FP32."""
    counts = Counter(reason.cause for reason in reasons)
    return {
        "calibration_windows": 0 if seen is None else seen.windows,
        **{f"kept_{cause.name}": counts[cause] for cause in Cause if counts[cause]},
        "kept_because": [str(reason) for reason in sorted(reasons, key=rank)[:LISTED]],
    }


def facts_of(model: onnx.ModelProto) -> dict[str, Fact]:
    """Count the nodes that give FP16 and those that give FP32, without the casts between them."""
    from onnx import TensorProto

    types = {
        v.name: v.type.tensor_type.elem_type for v in (*model.graph.value_info, *model.graph.output)
    }
    given = [
        types.get(n.output[0]) for n in model.graph.node if n.op_type not in ("Cast", "Constant")
    ]
    return {
        "nodes": len(model.graph.node),
        "float16_nodes": given.count(TensorProto.FLOAT16),
        "float32_nodes": given.count(TensorProto.FLOAT),
        "casts": sum(n.op_type == "Cast" for n in model.graph.node),
        "operators": operators(model.graph.node),
    }
