"""Checks explicit quantisation before TensorRT reads the graph, and says what mends it.

TensorRT takes signed integers with a zero point of 0, and one positive scale for a tensor, or one
for each channel of weights. TensorRT-RTX 1.7.1 refuses another zero point ("Non-zero zero point is
not supported"). It reads a uint8 zero point of 0 as int8, with a warning only: then it clips all
above 127 steps. So this is refused here.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core import StageError
from core.formats.calibrated_ranges import seen_ranges

if TYPE_CHECKING:
    import onnx

__all__ = ["LOW", "MEND", "PRODUCTS", "REFUSED", "check", "quantised_readers"]

#: What a plan may know of a graph's integers (`ArtifactSpec.traits`) that TensorRT does not take.
REFUSED = frozenset(
    {"unsigned activations", "asymmetric activations", "unsigned weights", "asymmetric weights"}
)
MEND = (
    "quantise for TensorRT: precision=int8_symmetric, or quantizer=qdq quantizer.layout=tensorrt "
    "quantizer.activation=int8 quantizer.symmetric=true quantizer.weight=int8 "
    "quantizer.per_channel=true"
)
#: The types of ONNX that TensorRT dequantises. 8 and 4 bits, integers and floats.
LOW = ("INT8", "INT4", "FLOAT8E4M3FN", "FLOAT4E2M1")
#: The operators that TensorRT computes in a low precision between conversions.
PRODUCTS = ("Conv", "ConvTranspose", "Gemm", "MatMul")
_QUANTISE, _DEQUANTISE = "QuantizeLinear", "DequantizeLinear"
_SCALE, _ZERO = 1, 2


def check(model: onnx.ModelProto, path: Path) -> None:
    """Raise StageError for the first quantisation that TensorRT does not take, with its node.

    `model` has its weights. A graph without quantisation passes.
    """
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type == "Constant" and node.attribute and node.attribute[0].name == "value":
            constants[node.output[0]] = node.attribute[0].t
    nodes = [node for node in model.graph.node if node.op_type in (_QUANTISE, _DEQUANTISE)]
    for node in nodes:
        _check_node(node, constants, path)
    seen = seen_ranges(model)
    if nodes and seen and all(low == high == 0 for low, high in seen.values()):
        raise StageError(
            "every range of the quantised graph is zero: calibration saw nothing but silence",
            f"at: {path}",
            "calibrate with data that has a signal: calibration=..., quantizer.windows=...",
        )


def _check_node(node: onnx.NodeProto, constants: dict[str, onnx.TensorProto], path: Path) -> None:
    from onnx import TensorProto, numpy_helper

    zero = constants.get(node.input[_ZERO]) if len(node.input) > _ZERO else None
    if zero is not None:
        kind = TensorProto.DataType.Name(zero.data_type)
        if kind not in LOW:
            raise _refused(node, f"its type is {kind.lower()}", path, MEND)
        # Not an array: numpy has no type for 4 bits and 8-bit floats. Zero is all bits clear.
        if any(zero.raw_data) or any(zero.int32_data):
            raise _refused(node, "its zero point is not 0", path, MEND)
    elif node.op_type == _QUANTISE and not _typed(node):
        raise _refused(node, "its type is uint8: it has no zero point", path, MEND)
    scale = constants.get(node.input[_SCALE])
    if scale is not None and not _is_positive(numpy_helper.to_array(scale)):
        raise _refused(
            node,
            "a scale is not above 0",
            path,
            "it comes from calibration data without a signal there: calibrate with other data "
            "(calibration=...), or leave the node in float (quantizer.exclude)",
        )


def _typed(node: onnx.NodeProto) -> bool:
    """Return whether a QuantizeLinear without a zero point names its type (opset 21)."""
    return any(a.name == "output_dtype" and a.i for a in node.attribute)


def _is_positive(scale: Any) -> bool:
    import numpy as np

    values = scale.astype(np.float64)
    return bool((np.isfinite(values) & (values > 0)).all())


def _refused(node: onnx.NodeProto, why: str, path: Path, mend: str) -> StageError:
    name = node.name or node.output[0]
    return StageError(
        f"TensorRT does not take the quantisation of {node.op_type} `{name}`: {why}",
        f"at: {path}",
        "it takes signed integers (int8, int4) with a zero point of 0 and scales above 0",
        mend,
    )


def quantised_readers(model: onnx.ModelProto) -> Iterator[tuple[str, str, str]]:
    """Yield (node, operator, its DequantizeLinear) for each product of two dequantised values.

    Its pairs of conversions are fused where it computes in the low precision.
    """
    made = {n.output[0]: n for n in model.graph.node if n.op_type == _DEQUANTISE}
    for node in model.graph.node:
        if node.op_type in PRODUCTS and all(name in made for name in node.input[:2]):
            first = made[node.input[0]]
            yield node.name or node.output[0], node.op_type, first.name or first.output[0]
