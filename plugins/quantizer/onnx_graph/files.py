"""Reads and writes ONNX graphs of any size, and counts their operators."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    import onnx

__all__ = ["ONE_FILE_BYTES", "cleaned", "inferred", "operators", "save"]

#: Protobuf writes no message of 2 GiB or more; 64 MiB are left for the graph around the weights.
ONE_FILE_BYTES = 2**31 - 64 * 2**20


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
    """Remove `metadata_props` everywhere, in place, and name every node; returns the model.

    ONNX Runtime 1.31.1's `qnn_preprocess_model` crashes on `metadata_props` (`TypeError: cannot
    convert dictionary update sequence`), and its overrides and exclusions go by node name.
    """
    del model.metadata_props[:]
    del model.graph.metadata_props[:]
    taken = {node.name for node in model.graph.node}
    for index, node in enumerate(model.graph.node):
        del node.metadata_props[:]
        if not node.name:
            node.name = f"{node.op_type}_{index}"
            while node.name in taken:
                node.name += "_"
            taken.add(node.name)
    for value in (*model.graph.value_info, *model.graph.input, *model.graph.output):
        del value.metadata_props[:]
    return model


def save(model: onnx.ModelProto, path: Path, one_file_bytes: int = ONE_FILE_BYTES) -> None:
    """Write one file, or a graph and one file of weights where one cannot hold them."""
    import onnx

    if sum(len(tensor.raw_data) for tensor in model.graph.initializer) <= one_file_bytes:
        onnx.save(model, path)
    else:
        onnx.save(model, path, save_as_external_data=True, location=f"{path.name}.data")


def operators(model: onnx.ModelProto) -> list[str | float]:
    """Return the operators by number, such as `Conv 96`."""
    counts = Counter(node.op_type for node in model.graph.node)
    return [f"{name} {count}" for name, count in counts.most_common()]
