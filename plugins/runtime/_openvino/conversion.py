"""Converts a graph from ONNX to OpenVINO's own format, IR: `model.xml` and `model.bin`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from core.errors import StageError
from core.formats.onnx_graph import check_weights
from plugins.runtime._openvino.machine import library, version
from plugins.runtime._openvino.refusals import not_converted

if TYPE_CHECKING:
    import openvino

__all__ = ["convert"]


def convert(source: Path, target: Path) -> openvino.Model:
    """Write the ONNX graph `source` as `target` (`.xml`) with its weights beside it.

    Every weight keeps its type, and equal graphs give equal files. Raises StageError for a file
    that is no ONNX graph, and for an operator that OpenVINO lacks, with its nodes.
    """
    import onnx
    import openvino
    from google.protobuf.message import DecodeError

    check_weights(source)
    try:
        onnx.load(str(source), load_external_data=False)
    except DecodeError as error:  # OpenVINO would try its readers of other formats, which print
        raise StageError(
            f"`{source.name}` is no ONNX graph", f"at: {source}", str(error)
        ) from error
    try:
        model = library().read_model(source)
    except RuntimeError as error:
        raise not_converted(error, source, version()) from error
    _number(model)
    # By default it would round every weight to FP16.
    openvino.save_model(model, target, compress_to_fp16=False)
    return model


def _number(model: openvino.Model) -> None:
    """Name nodes without a name of their own by their place in the graph.

    OpenVINO 2026.4.1 numbers them in the order in which the process made them.
    """
    for place, node in enumerate(model.get_ordered_ops()):
        if node.get_friendly_name() == node.get_name():
            node.set_friendly_name(f"{node.get_type_name()}.{place}")
