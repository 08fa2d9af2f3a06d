"""Makes ONNX graphs what a quantizer needs: without the notes of others, every node named."""

from __future__ import annotations

from typing import TYPE_CHECKING

from core.onnx_file import clear_notes

if TYPE_CHECKING:
    import onnx

__all__ = ["cleaned"]


def cleaned(model: onnx.ModelProto) -> onnx.ModelProto:
    """Clear the notes of other tools, in place, and name every node; returns the model.

    ONNX Runtime's overrides and exclusions go by node name.
    """
    clear_notes(model)
    taken = {node.name for node in model.graph.node}
    for index, node in enumerate(model.graph.node):
        if not node.name:
            node.name = f"{node.op_type}_{index}"
            while node.name in taken:
                node.name += "_"
            taken.add(node.name)
    return model
