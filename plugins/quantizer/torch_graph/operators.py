"""What ONNX operators compute, in PyTorch and with gradients.

Each takes the node's attributes and its inputs, None for an optional one that is left out, and
returns its outputs. The operators are those of separation networks, in the versions of opset 18
to 22; `network.py` refuses the others by name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from onnx import helper
from torch import Tensor
from torch.nn import functional

from plugins.quantizer.torch_graph.moving import MOVING, Attributes, Inputs, numbers

__all__ = ["OPERATORS"]

Operator = Callable[[Attributes, Inputs], tuple[Tensor, ...]]

_CONV = {1: functional.conv1d, 2: functional.conv2d, 3: functional.conv3d}
_TRANSPOSED = {
    1: functional.conv_transpose1d,
    2: functional.conv_transpose2d,
    3: functional.conv_transpose3d,
}


def _padded(x: Tensor, pads: Sequence[int]) -> tuple[Tensor, list[int]]:
    """Return `x` and the symmetric padding left to do; what is not symmetric is done here."""
    half = len(pads) // 2
    before, after = list(pads[:half]), list(pads[half:])
    if before == after:
        return x, before
    turned = [n for pair in zip(reversed(before), reversed(after), strict=True) for n in pair]
    return functional.pad(x, turned), [0] * half


def _conv(attributes: Attributes, inputs: Inputs) -> tuple[Tensor, ...]:
    x, weight, bias = (*inputs, None)[:3]
    dims = weight.dim() - 2
    x, padding = _padded(x, attributes.get("pads", [0] * 2 * dims))
    return (
        _CONV[dims](
            x,
            weight,
            bias,
            attributes.get("strides", [1] * dims),
            padding,
            attributes.get("dilations", [1] * dims),
            attributes.get("group", 1),
        ),
    )


def _conv_transpose(attributes: Attributes, inputs: Inputs) -> tuple[Tensor, ...]:
    x, weight, bias = (*inputs, None)[:3]
    dims = weight.dim() - 2
    pads = attributes.get("pads", [0] * 2 * dims)
    y = _TRANSPOSED[dims](
        x,
        weight,
        bias,
        attributes.get("strides", [1] * dims),
        0,
        attributes.get("output_padding", [0] * dims),
        attributes.get("group", 1),
        attributes.get("dilations", [1] * dims),
    )
    for axis in range(dims):  # the padding of a transposed convolution is cut off its output
        length = y.shape[axis + 2] - pads[axis] - pads[axis + dims]
        y = y.narrow(axis + 2, pads[axis], length)
    return (y,)


def _gemm(attributes: Attributes, inputs: Inputs) -> tuple[Tensor, ...]:
    a, b, c = (*inputs, None)[:3]
    a = a.t() if attributes.get("transA", 0) else a
    b = b.t() if attributes.get("transB", 0) else b
    y = attributes.get("alpha", 1.0) * (a @ b)
    return (y if c is None else y + attributes.get("beta", 1.0) * c,)


def _layer_norm(attributes: Attributes, inputs: Inputs) -> tuple[Tensor, ...]:
    x, gain, bias = (*inputs, None)[:3]
    shape = x.shape[attributes.get("axis", -1) :]
    return (functional.layer_norm(x, shape, gain, bias, attributes.get("epsilon", 1e-5)),)


def _instance_norm(attributes: Attributes, inputs: Inputs) -> tuple[Tensor, ...]:
    x, gain, bias = inputs
    return (
        functional.instance_norm(x, weight=gain, bias=bias, eps=attributes.get("epsilon", 1e-5)),
    )


def _reduced(function: Callable[..., Tensor]) -> Operator:
    def reduce(attributes: Attributes, inputs: Inputs) -> tuple[Tensor, ...]:
        x, axes = (*inputs, None)[:2]
        chosen = numbers(axes) or attributes.get("axes")
        if chosen is None and attributes.get("noop_with_empty_axes", 0):
            return (x,)
        keep = bool(attributes.get("keepdims", 1))
        return (function(x, dim=chosen or list(range(x.dim())), keepdim=keep),)

    return reduce


def _clip(_: Attributes, inputs: Inputs) -> tuple[Tensor, ...]:
    x, low, high = (*inputs, None, None)[:3]
    return (x if low is None and high is None else torch.clamp(x, low, high),)


def _gelu(attributes: Attributes, inputs: Inputs) -> tuple[Tensor, ...]:
    return (functional.gelu(inputs[0], approximate=attributes.get("approximate", "none")),)


def _div(_: Attributes, inputs: Inputs) -> tuple[Tensor, ...]:
    whole = not inputs[0].is_floating_point()
    return (torch.div(*inputs, rounding_mode="trunc" if whole else None),)


def _cast(attributes: Attributes, inputs: Inputs) -> tuple[Tensor, ...]:
    dtype = helper.tensor_dtype_to_np_dtype(attributes["to"])
    return (inputs[0].to(torch.from_numpy(np.empty(0, dtype)).dtype),)


def _plain(function: Callable[..., Tensor]) -> Operator:
    return lambda _, inputs: (function(*inputs),)


def _along(function: Callable[..., Tensor], axis: int) -> Operator:
    return lambda attributes, inputs: (function(inputs[0], dim=attributes.get("axis", axis)),)


OPERATORS: Mapping[str, Operator] = {
    "Conv": _conv,
    "ConvTranspose": _conv_transpose,
    "Gemm": _gemm,
    "MatMul": _plain(torch.matmul),
    "Add": _plain(torch.add),
    "Sub": _plain(torch.sub),
    "Mul": _plain(torch.mul),
    "Div": _div,
    "Pow": _plain(torch.pow),
    "Mod": _plain(torch.remainder),
    "Equal": _plain(torch.eq),
    "Cast": _cast,
    "Sin": _plain(torch.sin),
    "Cos": _plain(torch.cos),
    "Sqrt": _plain(torch.sqrt),
    "Reciprocal": _plain(torch.reciprocal),
    "Exp": _plain(torch.exp),
    "Abs": _plain(torch.abs),
    "Neg": _plain(torch.neg),
    "Relu": _plain(functional.relu),
    "Sigmoid": _plain(torch.sigmoid),
    "Tanh": _plain(torch.tanh),
    "Gelu": _gelu,
    "Softmax": _along(torch.softmax, -1),
    "LayerNormalization": _layer_norm,
    "InstanceNormalization": _instance_norm,
    "ReduceMean": _reduced(torch.mean),
    "ReduceSum": _reduced(torch.sum),
    "Clip": _clip,
    **MOVING,
}
