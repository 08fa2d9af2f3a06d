"""Reads, writes and describes ONNX graphs, for plugins of several kinds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from core.formats.onnx_bounds import check_external

if TYPE_CHECKING:
    from pathlib import Path

    import onnx

    from core.plugin.values import Row

__all__ = [
    "ONE_FILE_BYTES",
    "check_weights",
    "clear_notes",
    "describe",
    "inferred",
    "loaded",
    "operators",
    "save",
]

#: Protobuf writes no message of 2 GiB or more; 64 MiB are left for the graph around the weights.
ONE_FILE_BYTES = 2**31 - 64 * 2**20


def save(
    model: onnx.ModelProto,
    path: Path,
    *,
    beside: bool = False,
    one_file_bytes: int = ONE_FILE_BYTES,
) -> None:
    """Write `model` to `path`, its weights to `<path>.data` if they exceed `one_file_bytes`.

    With `beside` they go there whatever their size. Tensors are written to the one data file in
    the order of the graph, so that equal models give equal files. Writing weights beside a graph
    takes them out of `model`.
    """
    import onnx

    # Not ByteSize(): it fails on the very models that are too large to serialise.
    weights = sum(len(tensor.raw_data) for tensor in model.graph.initializer)
    if not beside and weights <= one_file_bytes:
        onnx.save(model, path)
        return
    onnx.save(
        model,
        path,
        save_as_external_data=True,
        all_tensors_to_one_file=True,
        location=f"{path.name}.data",
    )


def inferred(path: Path) -> onnx.ModelProto:
    """Return the model with its weights and with the type and shape of every tensor.

    Shapes are inferred before the weights are read: `infer_shapes` puts the model into one
    protobuf message, which cannot hold weights over 2 GB, and it needs no external weights. Raises
    as `loaded` does.
    """
    import onnx

    model = onnx.load(str(path), load_external_data=False)
    check_external(model, path)
    model = onnx.shape_inference.infer_shapes(model)
    onnx.load_external_data_for_model(model, str(path.parent))
    return model


def loaded(path: Path) -> onnx.ModelProto:
    """Return the model with its weights, which lie in it or in plain files of its folder.

    Raises InputError or UnsafePathError where they lie elsewhere.
    """
    import onnx

    model = onnx.load(str(path), load_external_data=False)
    check_external(model, path)
    onnx.load_external_data_for_model(model, str(path.parent))
    return model


def check_weights(path: Path) -> None:
    """Raise as `loaded` does, without reading weights that lie beside the graph.

    ONNX Runtime 1.31.1 refuses paths and links that lead out of the folder, but not a hard link to
    a file elsewhere. A file that is no graph is left to its reader.
    """
    import onnx
    from google.protobuf.message import DecodeError

    try:
        model = onnx.load(str(path), load_external_data=False)
    except (DecodeError, OSError):
        return
    check_external(model, path)


def clear_notes(model: onnx.ModelProto, *, doc_strings: bool = False) -> None:
    """Remove the `metadata_props` that tools leave about their own work, in place.

    Dynamo notes stack traces and class names on the model, the graph, every node and value, and
    onnxsim notes itself on the model. These notes make files differ between machines, and ONNX
    Runtime 1.31.1's `qnn_preprocess_model` crashes on them (`TypeError: cannot convert dictionary
    update sequence`). With `doc_strings`, where tracers put source lines, these are emptied too.
    """
    del model.metadata_props[:]
    del model.graph.metadata_props[:]
    for group in (
        model.graph.node,
        model.graph.value_info,
        model.graph.input,
        model.graph.output,
        model.graph.initializer,
    ):
        for entry in group:
            del entry.metadata_props[:]
            if doc_strings:
                entry.doc_string = ""
    if doc_strings:
        model.doc_string = model.graph.doc_string = ""


def operators(nodes: Iterable[onnx.NodeProto]) -> Row:
    """Return how often each operator is among `nodes`, most frequent first."""
    counts = Counter(node.op_type for node in nodes)
    return dict(counts.most_common())


def describe(path: Path) -> dict[str, Any]:
    """Return the opsets, inputs and outputs of an ONNX file, as JSON; its weights are not read."""
    import onnx

    model = onnx.load(path, load_external_data=False)
    return {
        "ir_version": model.ir_version,
        "opset": {entry.domain or "ai.onnx": entry.version for entry in model.opset_import},
        "inputs": [_tensor(value) for value in model.graph.input],
        "outputs": [_tensor(value) for value in model.graph.output],
    }


def _tensor(value: onnx.ValueInfoProto) -> dict[str, Any]:
    """Return a tensor's name, type and shape; an axis of any length has a name, or none."""
    import numpy as np
    from onnx import helper

    kind = value.type.tensor_type
    return {
        "name": value.name,
        "dtype": np.dtype(helper.tensor_dtype_to_np_dtype(kind.elem_type)).name,
        "shape": [d.dim_value if d.HasField("dim_value") else d.dim_param for d in kind.shape.dim],
    }
