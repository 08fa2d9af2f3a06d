"""Puts QuantizeLinear and DequantizeLinear around the operators of a float graph, given ranges."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from plugins.quantizer.onnx_graph.qnn_ranges import qnn_overrides
from plugins.quantizer.onnx_graph.unshared import unshare_weights

if TYPE_CHECKING:
    import onnx

    from plugins.quantizer.onnx_graph.calibrate import Ranges

__all__ = ["config_for", "quantised"]


def config_for(
    model: onnx.ModelProto,
    weight: str,
    activation: str,
    *,
    per_channel: bool,
    wide: Iterable[str] = (),
    excluded: Iterable[str] = (),
) -> Any:
    """Return ONNX Runtime's settings for graphs that QNN accepts.

    `weight` and `activation` are names of its `QuantType`. `wide` are the activations that get 16
    bits, `excluded` the nodes that stay in float.
    """
    from onnxruntime.quantization import QuantType
    from onnxruntime.quantization.execution_providers.qnn import get_qnn_qdq_config

    return get_qnn_qdq_config(
        model,
        None,  # its reader of calibration data: the ranges are collected beside it
        activation_type=QuantType[activation],
        weight_type=QuantType[weight],
        per_channel=per_channel,
        init_overrides=qnn_overrides(model, wide),
        nodes_to_exclude=list(excluded),
    )


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
