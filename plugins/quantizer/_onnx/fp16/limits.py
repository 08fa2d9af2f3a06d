"""Decides which nodes FP16 cannot serve, from what calibration windows showed of their values.

FP16 ends at 65,504, has steps coarser than its 11 bits below 6.1e-5, and a sum that is kept in it
stops growing once it is 2,048 times as large as a term.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any

from core.measure.metrics import snr_db
from plugins.quantizer._onnx.calibration.inner_sums import OPAQUE

if TYPE_CHECKING:
    import onnx
    from numpy.typing import NDArray

    from plugins.quantizer._onnx.calibration.observe import Observer, Seen

__all__ = [
    "LARGEST",
    "SMALLEST_NORMAL",
    "Cause",
    "Reason",
    "rank",
    "weight_reasons",
    "window_reasons",
]

#: The largest finite number of IEEE 754 binary16, and the smallest with all its 11 bits.
LARGEST, SMALLEST_NORMAL = 65504.0, 2.0**-14
#: Terms after which a running sum of equal ones in FP16 no longer moves: 2 to its 11 bits.
LONGEST_SUM = 2**11
#: The SNR that constants in FP16 must keep, in dB: normal numbers keep 70 and more.
ROUNDING_DB = 60.0
#: The operands that the operator adds to something else.
ADDED = {
    **dict.fromkeys(("Add", "Sub"), (0, 1)),
    **dict.fromkeys(("Conv", "ConvTranspose", "Gemm"), (2,)),
    **dict.fromkeys(("BatchNormalization", "GroupNormalization"), (2,)),
    **dict.fromkeys(("InstanceNormalization", "LayerNormalization"), (2,)),
}
#: Values this much weaker than the tensor's own peak are no signal but the residue of FP32 when it
#: cancels, as in a norm's centred silence. 120 dB: more than 20 bits of audio.
RESIDUE = 1e-6


class Cause(Enum):
    """Why a node stays in FP32."""

    overflow = "passes the end of FP16"
    overflowing_sum = "sums beyond the end of FP16"
    near = "comes near the end of FP16"
    long_sum = "sums too many values for 11 bits"
    weak = "falls below FP16's normal range"
    opaque = "sums inside where nothing shows it"


@dataclass(frozen=True)
class Reason:
    """One node that stays in FP32, and the value seen that is the reason."""

    node: str
    operator: str
    tensor: str
    cause: Cause
    value: str
    severity: float

    def __str__(self) -> str:
        """Name node, operator, tensor and value."""
        return f"{self.node} ({self.operator}): {self.value}"


def rank(reason: Reason) -> tuple[int, float]:
    """Return the sort key of reasons, the worst first: by cause, then by distance to the limit."""
    return list(Cause).index(reason.cause), -reason.severity


def window_reasons(model: onnx.ModelProto, seen: Observer, headroom: float) -> list[Reason]:
    """Return why nodes stay in FP32, at most one reason a node, the worst."""
    limit = LARGEST / headroom
    worst: dict[str, Reason] = {}
    for node in model.graph.node:
        found = [*_tensor_reasons(node, seen, limit), *_sum_reasons(node, seen, limit)]
        if found:
            worst[node.name] = min(found, key=rank)
    return list(worst.values())


def _tensor_reasons(node: onnx.NodeProto, seen: Observer, limit: float) -> Iterator[Reason]:
    """Yield the faults of the tensors that the node reads and writes.

    Both ends matter: a tensor stays in FP32 only when its writer and its readers do.
    """
    for tensor in (*node.input, *node.output):
        entry = seen.seen.get(tensor)
        if entry is None:
            continue
        if entry.peak > limit:
            cause = Cause.overflow if entry.peak > LARGEST else Cause.near
            value = f"`{tensor}` reaches {_amount(entry.peak)}"
            if math.isinf(entry.peak):
                value = f"`{tensor}` is not finite in FP32 either"
            yield _reason(node, tensor, cause, value, entry.peak / LARGEST)
        weakest, what = _weakest(entry, tensor in seen.sensitive)
        if weakest < SMALLEST_NORMAL:
            value = f"`{tensor}` falls to {_amount(weakest)} {what}"
            yield _reason(node, tensor, Cause.weak, value, SMALLEST_NORMAL / weakest)


def _weakest(entry: Seen, every_value: bool) -> tuple[float, str]:
    if every_value and entry.least < SMALLEST_NORMAL:
        return entry.least, "where it is a divisor, a root or a logarithm"
    if entry.peak * RESIDUE < entry.weakest < SMALLEST_NORMAL:
        return entry.weakest, "on average in one window"
    return math.inf, ""


def _sum_reasons(node: onnx.NodeProto, seen: Observer, limit: float) -> Iterator[Reason]:
    """Yield the faults of the sum inside the node."""
    tensor = node.input[0] if node.input else ""
    if node.op_type in OPAQUE:
        yield _reason(node, tensor, Cause.opaque, "has an internal sum that is not observed", 1.0)
    entry = seen.sums.get(node.name)
    if entry is None:
        return
    if entry.largest > limit:
        cause = Cause.overflowing_sum if entry.largest > LARGEST else Cause.near
        value = f"its sum over `{tensor}` reaches {_amount(entry.largest)}"
        yield _reason(node, tensor, cause, value, entry.largest / LARGEST)
    if entry.terms > LONGEST_SUM:
        value = f"it sums {entry.terms:,} values of `{tensor}`"
        yield _reason(node, tensor, Cause.long_sum, value, entry.terms / LONGEST_SUM)
    if entry.variance < SMALLEST_NORMAL:
        value = f"the variance of `{tensor}` falls to {_amount(entry.variance)}"
        severity = SMALLEST_NORMAL / entry.variance if entry.variance else math.inf
        yield _reason(node, tensor, Cause.weak, value, severity)


def weight_reasons(model: onnx.ModelProto) -> list[Reason]:
    """Return the nodes that stay in FP32 because of their constants, whatever the data.

    Constants beyond the largest number would be clipped, and those below the normal range rounded
    to few steps or to nothing. Addends are accepted: an epsilon matters only in the sum that it is
    part of.
    """
    import numpy as np
    from onnx import TensorProto, numpy_helper

    bad: dict[str, tuple[Cause, str, float]] = {}
    for tensor in model.graph.initializer:
        if tensor.data_type != TensorProto.FLOAT:
            continue
        values = np.abs(numpy_helper.to_array(tensor))
        finite = values[np.isfinite(values)]
        peak = float(finite.max(initial=0.0))
        if peak > LARGEST:
            value = f"its constant `{tensor.name}` holds {_amount(peak)}"
            bad[tensor.name] = (Cause.overflow, value, peak / LARGEST)
        elif peak and _rounding_db(finite) < ROUNDING_DB:
            reached = "is" if values.size == 1 else "reaches"
            value = f"its constant `{tensor.name}` {reached} {_amount(peak)}"
            bad[tensor.name] = (Cause.weak, value, SMALLEST_NORMAL / peak)
    found = []
    for node in model.graph.node:
        added = ADDED.get(node.op_type, ())
        for place, name in enumerate(node.input):
            if name not in bad:
                continue
            cause, value, severity = bad[name]
            if cause is Cause.overflow or place not in added:
                found.append(_reason(node, name, cause, value, severity))
                break
    return found


def _rounding_db(values: NDArray[Any]) -> float:
    """Return the SNR in dB that finite FP32 values, at most 65,504, keep in FP16."""
    import numpy as np

    # Of their peak, since the squares of small ones are too small for FP32.
    peak = np.abs(values).max()
    return snr_db(values / peak, values.astype(np.float16).astype(np.float32) / peak)


def _reason(node: onnx.NodeProto, tensor: str, cause: Cause, value: str, severity: float) -> Reason:
    return Reason(node.name, node.op_type, tensor, cause, value, severity)


def _amount(value: float) -> str:
    """Return a number as a person reads it: 81,234 or 1.2e-07."""
    if not math.isfinite(value):
        return "infinity"
    return f"{value:,.0f}" if value >= 100 else f"{value:.2g}"  # noqa: PLR2004  # three digits
