"""Makes ONNX graphs what a quantizer needs: constants as initializers, every node named."""

from __future__ import annotations

from typing import TYPE_CHECKING

from core.onnx_file import clear_notes
from plugins.quantizer.onnx_graph.constants import constants_lifted, folded, inputs_freed

if TYPE_CHECKING:
    import onnx

__all__ = ["cleaned"]


def cleaned(model: onnx.ModelProto) -> onnx.ModelProto:
    """Clear the notes of other tools, lift constants, name every node; returns the model.

    In place. No two nodes share a name afterwards: ONNX Runtime's overrides and exclusions go by
    names.
    """
    clear_notes(model)
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
