"""Reads from a compiled model which device computes each node, and in which type."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from core.plugin.placement import Placed, Placement

if TYPE_CHECKING:
    import openvino

    from plugins.runtime._openvino.machine import Choice

__all__ = ["placement"]

SOURCE = "OpenVINO's runtime model"
#: Nodes of a runtime model that compute nothing: they hold, convert or describe tensors.
_IDLE = {
    "const", "constant", "convert", "input", "output", "parameter", "reorder", "reshape", "result",
    "shapeof",
}  # fmt: skip
#: Nodes that only move values: no type makes them more or less exact. OpenVINO turns weights and
#: looks up rows of tables in the type that it keeps them in.
_MOVING = {
    "broadcast", "concatenation", "depthtospace", "gather", "gatherelements", "gathernd", "pad",
    "reversesequence", "roll", "shufflechannels", "spacetodepth", "split", "stridedslice", "tile",
    "transpose",
}  # fmt: skip
#: Our names for its types; the others (f64, i32, i64, boolean) keep theirs.
_PRECISIONS = {"f32": "fp32", "f16": "fp16", "i8": "int8", "u8": "int8"}
#: Types of one byte. OpenVINO also keeps in them what is true or false, and gives a node the type
#: of its first input: a choice between floats has that of its condition.
_BYTES = {"i8", "u8", "boolean"}
#: The types in which a float graph may compute, and must as the recipe says.
_FLOATS = {"fp32", "fp16", "bf16"}
#: How many nodes that did not compute as asked are named.
NAMED = 24


def placement(
    compiled: openvino.CompiledModel, made: Choice, asked: Choice, *, quantised: bool
) -> Placement | None:
    """Return what computes the nodes of a compiled model; None where the device gives no trace.

    OpenVINO fuses nodes: a convolution with the ReLU behind it counts as one. Conversions of
    layouts and types do not count. A node is as `asked` if it runs on the asked device, and in the
    asked type or in integers; one that only moves values may have any type. Where the model is not
    `quantised`, bytes are no rounded floats, but true or false, or the model's own.
    """
    try:
        nodes = compiled.get_runtime_model().get_ordered_ops()
    except RuntimeError:  # a device may have no such model (NPU, a model out of a cache)
        return None
    counts: Counter[tuple[str, bool]] = Counter()
    left = []
    for node in nodes:
        about = node.get_rt_info()
        kind, own = _text(about, "layerType"), _text(about, "originalLayersNames")
        if kind.lower() in _IDLE or not own:
            continue
        used = _text(about, "runtimePrecision")
        if used in _BYTES and not quantised:
            used = _result(node)
        precision = _PRECISIONS.get(used, used)
        moving = kind.lower() in _MOVING
        as_asked = made.device == asked.device and (
            moving or precision not in _FLOATS or precision == asked.float_.value
        )
        counts[precision, as_asked] += 1
        if not as_asked:
            left.append((own.split(",", maxsplit=1)[0], kind))
    placed = tuple(
        Placed(made.device, count, precision, as_asked)
        for (precision, as_asked), count in sorted(counts.items())
    )
    return Placement(SOURCE, placed, tuple(left[:NAMED]))


def _result(node: openvino.Node) -> str:
    """Return the type of the first result of a node, of which those of one byte are `byte`."""
    kind = str(node.get_output_element_type(0).get_type_name())
    return "byte" if kind in _BYTES else kind


def _text(about: dict[str, openvino.OVAny], key: str) -> str:
    return str(about[key].astype(str)) if key in about else ""
