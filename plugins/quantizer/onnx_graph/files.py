"""Reads ONNX graphs of any size as a quantizer needs them: with shapes, and every node named."""

from __future__ import annotations

from typing import TYPE_CHECKING

from core.onnx_file import clear_notes

if TYPE_CHECKING:
    from pathlib import Path

    import onnx

__all__ = ["cleaned", "inferred"]


def inferred(path: Path) -> onnx.ModelProto:
    """Return the model with its weights and with the type and shape of every tensor.

    Shapes are inferred before the weights are read: `infer_shapes` goes through one protobuf
    message, which weights over 2 GB do not fit, and it needs none that lie outside.
    """
    import onnx

    model = onnx.load(str(path), load_external_data=False)
    model = onnx.shape_inference.infer_shapes(model)
    onnx.load_external_data_for_model(model, str(path.parent))
    return model


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
