"""Puts QuantizeLinear and DequantizeLinear around the operators of a float graph, given ranges."""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum
from typing import TYPE_CHECKING, Any

from plugins.quantizer.onnx_graph.qnn_ranges import qnn_overrides
from plugins.quantizer.onnx_graph.select import activations
from plugins.quantizer.onnx_graph.unshared import unshare_weights

if TYPE_CHECKING:
    import onnx

    from plugins.quantizer.onnx_graph.calibrate import Ranges

__all__ = ["Layout", "bits_of", "config_for", "quantised"]


class Layout(Enum):
    """Where a runtime wants the conversions, named after the runtime."""

    qnn = "every operator"
    cpu = "inputs of matrix products"
    tensorrt = "inputs of matrix products and convolutions"


#: What the layouts for a part of the graph quantise; all of it gives its result in float. On a CPU
#: without VNNI, convolutions of 8 bits made a window of the small HTDemucs 10 % slower.
OPERATORS = {
    Layout.cpu: ("Gemm", "MatMul"),
    Layout.tensorrt: ("Conv", "ConvTranspose", "Gemm", "MatMul"),
}


def config_for(
    model: onnx.ModelProto,
    weight: str,
    activation: str,
    *,
    per_channel: bool,
    wide: Iterable[str] = (),
    excluded: Iterable[str] = (),
    layout: Layout = Layout.qnn,
    symmetric: bool = False,
    weight_symmetric: bool | None = None,
) -> Any:
    """Return ONNX Runtime's settings for graphs that the runtime of `layout` accepts.

    `weight` and `activation` are names of its `QuantType`. `wide` are the activations that get 16
    bits (layout `qnn` only), `excluded` the nodes that stay in float. `symmetric` centres the
    ranges of activations on zero, `weight_symmetric` those of weights: by default those of signed
    types.
    """
    from onnxruntime.quantization import QuantType
    from onnxruntime.quantization.execution_providers.qnn import get_qnn_qdq_config
    from onnxruntime.quantization.quantize import StaticQuantConfig

    if weight_symmetric is None:
        weight_symmetric = weight.startswith("QInt")
    if layout is Layout.qnn:
        return get_qnn_qdq_config(
            model,
            None,  # its reader of calibration data: the ranges are collected beside it
            activation_type=QuantType[activation],
            weight_type=QuantType[weight],
            per_channel=per_channel,
            init_overrides=qnn_overrides(model, wide),
            activation_symmetric=symmetric,
            weight_symmetric=weight_symmetric,
            nodes_to_exclude=list(excluded),
        )
    return StaticQuantConfig(
        None,
        activation_type=QuantType[activation],
        weight_type=QuantType[weight],
        per_channel=per_channel,
        op_types_to_quantize=list(OPERATORS[layout]),
        nodes_to_exclude=list(excluded),
        extra_options={
            "MinimumRealRange": 0.0001,  # as in its settings for QNN
            "ActivationSymmetric": symmetric,
            "WeightSymmetric": weight_symmetric,
            "OpTypesToExcludeOutputQuantization": list(OPERATORS[layout]),
            # TensorRT fuses a pair of conversions into the one node that reads it, and adds the
            # bias in float.
            "DedicatedQDQPair": layout is Layout.tensorrt,
            "QuantizeBias": layout is not Layout.tensorrt,
        },
    )


def bits_of(config: Any, model: onnx.ModelProto) -> dict[str, int]:
    """Return the bits that `config` gives every activation of `model`."""
    overrides = config.extra_options.get("TensorQuantOverrides", {})
    types = {name: entries[0].get("quant_type") for name, entries in overrides.items()}
    return {
        name: 16 if "16" in (types.get(name) or config.activation_type).name else 8
        for name in activations(model)
    }


def quantised(model: onnx.ModelProto, config: Any, ranges: Ranges) -> onnx.ModelProto:
    """Return `model`, changed in place, with the quantisation that `config` asks for.

    ONNX Runtime's `quantize` would do the same after calibrating by itself; it also converts a
    graph below opset 21 when an activation has 16 bits, which QNN's operators do not need.
    """
    from onnxruntime.quantization import QDQQuantizer

    quantizer = QDQQuantizer(
        model,
        config.per_channel,
        config.reduce_range,
        config.weight_type,
        config.activation_type,
        ranges.tensors,
        config.nodes_to_quantize or [],
        config.nodes_to_exclude or [],
        config.op_types_to_quantize,
        config.extra_options,
    )
    quantizer.quantize_model()
    return unshare_weights(quantizer.model.model)
