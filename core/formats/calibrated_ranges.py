"""The ranges in a quantised ONNX graph: the range that a tensor can hold, and the one seen.

The first follows from the scale and the zero point of the tensor's `QuantizeLinear`. The second is
the range that calibration saw; a quantizer writes it to the file's metadata.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnx

__all__ = ["Held", "held_ranges", "seen_ranges", "write_seen"]

#: The key of the metadata: a JSON object of [least, most] by the float graph's names of tensors.
KEY = "luthier.calibrated_ranges"
#: The suffix that ONNX Runtime's quantiser gives an output of the graph before it rounds it.
SUFFIX = "_QuantizeLinear_Input"
Range = tuple[float, float]


@dataclass(frozen=True)
class Held:
    """The range that a tensor's integers stand for, and the one that calibration saw, if known."""

    held: Range
    seen: Range | None


def write_seen(model: onnx.ModelProto, seen: Mapping[str, Range]) -> None:
    """Write into `model` the ranges that calibration saw of the tensors that it quantises."""
    names = _quantized(model)
    known = {name: [float(f"{end:.6g}") for end in seen[name]] for name in names if name in seen}
    entry = model.metadata_props.add()
    entry.key, entry.value = KEY, json.dumps(known, separators=(",", ":"))


def seen_ranges(model: onnx.ModelProto) -> dict[str, Range]:
    """Return the ranges that calibration saw, by tensor; empty where the file does not say."""
    return _parsed(next((e.value for e in model.metadata_props if e.key == KEY), "{}"))


def held_ranges(model: onnx.ModelProto) -> dict[str, Held]:
    """Return the ranges of the activations that `model` quantises, by the float graph's names."""
    from onnx import numpy_helper

    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    seen = seen_ranges(model)
    found: dict[str, Held] = {}
    for name, node in _quantized(model).items():
        scale, zero = (constants.get(n) for n in node.input[1:3])
        if scale is None or zero is None or numpy_helper.to_array(scale).size != 1:
            continue
        step, offset = (numpy_helper.to_array(t).reshape(()) for t in (scale, zero))
        ends = _ends(offset.dtype.kind, offset.dtype.itemsize)
        low, high = ((end - int(offset)) * float(step) for end in ends)
        found.setdefault(name, Held((low, high), seen.get(name)))
    return found


def _quantized(model: onnx.ModelProto) -> dict[str, onnx.NodeProto]:
    """Return the first `QuantizeLinear` of every activation, by the float graph's name of it."""
    constants = {tensor.name for tensor in model.graph.initializer}
    restored = {n.output[0] for n in model.graph.node if n.op_type == "DequantizeLinear"}
    found: dict[str, onnx.NodeProto] = {}
    for node in model.graph.node:
        if node.op_type == "QuantizeLinear" and len(node.input) > 2:  # noqa: PLR2004  # its zero
            name = node.input[0]
            if name not in constants and name not in restored:
                found.setdefault(name.removesuffix(SUFFIX), node)
    return found


def _ends(kind: str, size: int) -> Range:
    bits = 8 * size
    return (0, 2**bits - 1) if kind == "u" else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)


def _parsed(told: str) -> dict[str, Range]:
    """Return the ranges in the metadata; none if it has another form."""
    import msgspec

    try:
        return msgspec.json.decode(told.encode(), type=dict[str, Range])
    except (msgspec.MsgspecError, UnicodeEncodeError):
        return {}
