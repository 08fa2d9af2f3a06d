"""Puts QuantizeLinear and DequantizeLinear around the operators of a float graph, given ranges."""

from __future__ import annotations

import copy
from collections.abc import Collection, Iterable, Iterator, Mapping
from enum import Enum
from typing import TYPE_CHECKING, Any

from core.formats.calibrated_ranges import write_seen
from plugins.quantizer._onnx.graph.biased import layers_of
from plugins.quantizer._onnx.graph.operands import SIGNAL
from plugins.quantizer._onnx.graph.passed import put_back, taken_out
from plugins.quantizer._onnx.graph.products import products_of
from plugins.quantizer._onnx.graph.unshared import unshare_roles, unshare_weights
from plugins.quantizer._onnx.qdq.bias_correction import correct
from plugins.quantizer._onnx.qdq.exclusions import bits_of, included_nodes, lost_in_rounding
from plugins.quantizer._onnx.qdq.gptq import round_weights
from plugins.quantizer._onnx.qdq.hidden import KEPT, Hidden
from plugins.quantizer._onnx.qdq.qnn_ranges import qnn_overrides
from plugins.quantizer._onnx.qdq.silence import settle

if TYPE_CHECKING:
    import onnx

    from plugins.quantizer._onnx.calibration.choose import Range
    from plugins.quantizer._onnx.calibration.collect import Ranges

__all__ = ["Layout", "config_for", "quantised"]


class Layout(Enum):
    """Where a runtime wants the conversions, named after the runtime."""

    qnn = "every operator"
    cpu = "inputs of matrix products"
    tensorrt = "inputs of matrix products and convolutions"


#: The first opset whose own QuantizeLinear takes a scale per channel; before it, ONNX Runtime's do.
OPSET = 13
#: The operators that layouts for a part of the graph quantise; each gives its result in float. On a
#: CPU without VNNI, convolutions of 8 bits made a window of the small HTDemucs 10 % slower.
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
        operators = dict.fromkeys(n.op_type for n in model.graph.node if n.op_type in SIGNAL)
        return get_qnn_qdq_config(
            model,
            None,  # its reader of calibration data: the ranges are collected beside it
            activation_type=QuantType[activation],
            weight_type=QuantType[weight],
            per_channel=per_channel,
            init_overrides=qnn_overrides(model, wide),
            activation_symmetric=symmetric,
            weight_symmetric=weight_symmetric,
            op_types_to_quantize=list(operators),
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
            "ActivationSymmetric": symmetric,
            "WeightSymmetric": weight_symmetric,
            "OpTypesToExcludeOutputQuantization": list(OPERATORS[layout]),
            # TensorRT fuses a pair of conversions into the one node that reads it, and adds the
            # bias in float.
            "DedicatedQDQPair": layout is Layout.tensorrt,
            "QuantizeBias": layout is not Layout.tensorrt,
        },
    )


def quantised(model: onnx.ModelProto, config: Any, ranges: Ranges) -> onnx.ModelProto:
    """Return `model`, changed in place, with the quantisation that `config` asks for.

    Nodes that must stay in float (`exclusions.py`) are excluded in `config` as well. ONNX
    Runtime's `quantize` would do the same after calibrating by itself; it also converts a graph
    below opset 21 when an activation has 16 bits, which QNN's operators do not need.
    """
    from plugins.quantizer._onnx.qdq.quantiser import Quantiser

    passed = taken_out(model)
    lost = lost_in_rounding(model, config, ranges)
    included = set(included_nodes(model, config, ranges, lost))
    config.nodes_to_exclude = [n.name for n in model.graph.node if n.name not in included]
    config.op_types_to_quantize = [n for n in config.op_types_to_quantize if n in SIGNAL]
    layers, products, original = layers_of(model), products_of(model), copy.deepcopy(model)
    quantizer = Quantiser(
        model,
        config.per_channel,
        config.reduce_range,
        config.weight_type,
        config.activation_type,
        ranges.at(bits_of(config, model)),
        config.nodes_to_quantize or [],
        config.nodes_to_exclude,
        [*config.op_types_to_quantize, *KEPT.values()],
        _options(model, config, ranges, included),
    )
    hidden = Hidden(
        quantizer.model.model, included, _ends(quantizer.tensors_range), set(lost.values())
    )
    quantizer.quantize_model()
    hidden.restore()
    lowered = unshare_weights(quantizer.model.model)
    round_weights(lowered, products, ranges.moments)
    correct(lowered, layers, ranges.means)
    if ranges.example:
        settle(lowered, original, ranges.example)
    write_seen(lowered, ranges.seen)
    put_back(lowered, passed)
    return lowered


def _options(
    model: onnx.ModelProto, config: Any, ranges: Ranges, included: Collection[str]
) -> dict[str, Any]:
    """Return the options for ONNX Runtime's quantiser; constants with several roles are copied."""
    options = {**config.extra_options, "MinimumRealRange": None}
    overrides = _narrowed(options.get("TensorQuantOverrides", {}), ranges)
    for own, original in unshare_roles(model, included).items():
        if original in overrides:
            overrides[own] = copy.deepcopy(overrides[original])
    symmetric = options.get("WeightSymmetric", config.weight_type.name.startswith("QInt"))
    for name in _of_one_scale(model, included):
        entry = {"quant_type": config.weight_type, "symmetric": symmetric}
        overrides.setdefault(name, [entry])
    options["TensorQuantOverrides"] = overrides
    if next((e.version for e in model.opset_import if e.domain in ("", "ai.onnx")), 1) < OPSET:
        options["UseQDQContribOps"] = True
    return options


def _of_one_scale(model: onnx.ModelProto, included: Collection[str]) -> Iterator[str]:
    """Yield the weights that must not have a scale per channel, though others have one.

    Weights of a transposed convolution of groups have the channels of one group, its bias those of
    all groups: ONNX Runtime 1.31.1 multiplies their scales. Weights of a product have columns as
    channels only on the right and in two dimensions: by default their second axis is taken.
    """
    shapes = {tensor.name: tensor.dims for tensor in model.graph.initializer}
    for node in model.graph.node:
        if node.name not in included:
            continue
        groups = next((a.i for a in node.attribute if a.name == "group"), 1)
        if node.op_type == "ConvTranspose" and groups > 1:
            yield node.input[1]
        if node.op_type == "MatMul":
            for place, name in enumerate(node.input):
                if name in shapes and (place == 0 or len(shapes[name]) != 2):  # noqa: PLR2004
                    yield name


def _narrowed(overrides: Mapping[str, Any], ranges: Ranges) -> dict[str, Any]:
    """Return `overrides` with the ranges of 16-bit tensors that some nodes read with 8 bits.

    By itself ONNX Runtime gives both the same range; 8 bits have no steps to spare for headroom.
    """
    import numpy as np

    found = copy.deepcopy(dict(overrides))
    for name, entries in found.items():
        convert = entries[0].get("convert")
        if convert is not None and "16" not in convert["quant_type"].name and name in ranges.narrow:
            low, high = ranges.narrow[name]
            convert |= {"rmin": np.array(low, np.float32), "rmax": np.array(high, np.float32)}
    return found


def _ends(ranges: Any) -> dict[str, Range]:
    import numpy as np

    return {
        name: (float(np.squeeze(data.range_value[0])), float(np.squeeze(data.range_value[1])))
        for name, data in ranges.items()
    }
