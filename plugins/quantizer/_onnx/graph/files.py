"""Prepares ONNX graphs for a quantizer: constants as initializers, every node named."""

from __future__ import annotations

from typing import TYPE_CHECKING

from core import StageError
from core.formats.onnx_graph import clear_notes
from plugins.quantizer._onnx.graph.constants import constants_lifted, folded, inputs_freed

if TYPE_CHECKING:
    import onnx

__all__ = ["cleaned"]

#: The first opset with all that a graph of integers needs, and the first with scales per channel;
#: older ones are converted to it.
OLDEST, CONVERTED = 11, 13


def cleaned(model: onnx.ModelProto) -> onnx.ModelProto:
    """Clear the notes of other tools, lift constants, name every node; returns the model.

    In place, but for a graph of an opset that knows no integers, which is converted to one that
    does. No two nodes share a name afterwards: ONNX Runtime's overrides and exclusions go by names.
    Raises StageError for a graph that cannot be converted.
    """
    clear_notes(model)
    model = _converted(model)
    model = folded(constants_lifted(inputs_freed(model)))
    taken: set[str] = {node.name for node in model.graph.node}
    seen: set[str] = set()
    for index, node in enumerate(model.graph.node):
        if not node.name or node.name in seen:
            node.name = f"{node.name or node.op_type}_{index}"
            while node.name in taken:
                node.name += "_"
            taken.add(node.name)
        seen.add(node.name)
    return model


def _converted(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return a graph of an old opset in a newer one, and any other as it is."""
    import onnx
    from onnx import version_converter

    opset = next((e.version for e in model.opset_import if e.domain in ("", "ai.onnx")), OLDEST)
    if opset >= OLDEST:
        return model
    try:
        converted = version_converter.convert_version(model, CONVERTED)
    except RuntimeError as error:
        raise StageError(
            f"the graph has opset {opset}, which has no integer operators, and cannot be converted "
            "to a newer one",
            str(error).strip().splitlines()[0],
            f"export it again, with opset {CONVERTED} or newer",
        ) from error
    return onnx.shape_inference.infer_shapes(converted)
