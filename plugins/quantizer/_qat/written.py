"""Writes the learned values back into the graph that they were read from; its structure stays."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from onnx import numpy_helper

if TYPE_CHECKING:
    import onnx

    from plugins.quantizer._qat.network import Network

__all__ = ["written"]


def written(network: Network, model: onnx.ModelProto) -> onnx.ModelProto:
    """Return `model`, the graph of `network`, with the learned scales, zero points and integers.

    Changed in place. Biases get the scale that operators on integers expect: that of their data
    times that of their weights. A bias with another scale, such as a norm's, keeps it.
    """
    tensors = {tensor.name: tensor for tensor in model.graph.initializer}
    arrays = {name: numpy_helper.to_array(tensor) for name, tensor in tensors.items()}
    new = _parameters(network, model)
    for name, weight in network.weights.items():
        new[name] = weight.integers().numpy()
    bias_scales = {n.input[0]: n.input[1] for n in model.graph.node if n.op_type == _DEQUANTIZE}
    for name, bias in network.biases.items():
        scale = new.get(bias.data, arrays.get(bias.data)) * new.get(
            bias.weight, arrays[bias.weight]
        )
        own = arrays[bias_scales[name]]
        scale = np.asarray(scale, np.float32).reshape(own.shape)
        if not np.allclose(own, (arrays[bias.data] * arrays[bias.weight]).reshape(own.shape)):
            scale = own
        new[bias_scales[name]] = scale
        limit = np.iinfo(np.int32)
        whole = np.rint(bias.value.detach().numpy().astype(np.float64) / scale)
        new[name] = np.clip(whole, limit.min, limit.max)
    for name, array in new.items():
        old = arrays[name]
        changed = np.asarray(array).astype(old.dtype).reshape(old.shape)
        tensors[name].CopyFrom(numpy_helper.from_array(changed, name))
    return model


_DEQUANTIZE = "DequantizeLinear"


def _parameters(network: Network, model: onnx.ModelProto) -> dict[str, np.ndarray]:
    """Return the scales of activations and weights and the zero points of activations, by name."""
    new: dict[str, np.ndarray] = {}
    with torch.no_grad():
        scales, zeros = (t.numpy() for t in network.ranges.scales_and_zeros())
        for node in model.graph.node:
            if node.op_type == "QuantizeLinear":
                index = network.ranges.index[node.input[1]]
                new[node.input[1]] = scales[index]
                least, most = network.ranges.bounds[index]
                new[node.input[2]] = np.clip(np.rint(zeros[index]), least, most)
            elif node.op_type == _DEQUANTIZE and node.input[0] in network.weights:
                new[node.input[1]] = network.weights[node.input[0]].scales().numpy()
    return new
