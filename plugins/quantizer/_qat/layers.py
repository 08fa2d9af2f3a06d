"""ONNX's layers in PyTorch: convolutions, products of matrices, norms, pooling."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor
from torch.nn import functional

from plugins.quantizer._qat.values import Attributes, Inputs, Operator, UnknownFormError

__all__ = ["LAYERS"]

_CONV = {1: functional.conv1d, 2: functional.conv2d, 3: functional.conv3d}
_TRANSPOSED = {
    1: functional.conv_transpose1d,
    2: functional.conv_transpose2d,
    3: functional.conv_transpose3d,
}
_MAX = {1: functional.max_pool1d, 2: functional.max_pool2d, 3: functional.max_pool3d}
_AVERAGE = {1: functional.avg_pool1d, 2: functional.avg_pool2d, 3: functional.avg_pool3d}


def _pads(
    attributes: Attributes, x: Tensor, kernel: Sequence[int], steps: Sequence[int]
) -> list[int]:
    """Return the padding of every axis of a window: all beginnings, then all ends.

    `auto_pad` asks for as many results as there are steps in the input, with the odd one of the
    padding at the end (SAME_UPPER) or at the beginning (SAME_LOWER).
    """
    dims = len(kernel)
    auto = attributes.get("auto_pad", "NOTSET")
    if auto in ("NOTSET", ""):
        return list(attributes.get("pads", [0] * 2 * dims))
    if auto == "VALID":
        return [0] * 2 * dims
    dilations = attributes.get("dilations", [1] * dims)
    before, after = [], []
    for axis in range(dims):
        length, reach = x.shape[axis + 2], (kernel[axis] - 1) * dilations[axis] + 1
        count = -(-length // steps[axis])
        missing = max(0, (count - 1) * steps[axis] + reach - length)
        small, large = missing // 2, -(-missing // 2)
        before.append(large if auto == "SAME_LOWER" else small)
        after.append(small if auto == "SAME_LOWER" else large)
    return before + after


def _padded(x: Tensor, pads: Sequence[int], value: float = 0.0) -> Tensor:
    """Return `x` with its last axes padded."""
    half = len(pads) // 2
    turned = [n for axis in reversed(range(half)) for n in (pads[axis], pads[axis + half])]
    return functional.pad(x, turned, value=value) if any(pads) else x


def _conv(attributes: Attributes, inputs: Inputs) -> tuple[Tensor, ...]:
    x, weight, bias = (*inputs, None)[:3]
    dims = weight.dim() - 2
    steps = attributes.get("strides", [1] * dims)
    pads = _pads(attributes, x, weight.shape[2:], steps)
    even = pads[:dims] == pads[dims:] and min(pads) >= 0
    return (
        _dimensions(_CONV, dims)(
            x if even else _padded(x, pads),
            weight,
            bias,
            steps,
            pads[:dims] if even else 0,
            attributes.get("dilations", [1] * dims),
            attributes.get("group", 1),
        ),
    )


def _conv_transpose(attributes: Attributes, inputs: Inputs) -> tuple[Tensor, ...]:
    x, weight, bias = (*inputs, None)[:3]
    dims = weight.dim() - 2
    if attributes.get("output_shape") or attributes.get("auto_pad", "NOTSET") != "NOTSET":
        raise UnknownFormError("it gives its output's shape instead of its padding")
    pads = attributes.get("pads", [0] * 2 * dims)
    y = _dimensions(_TRANSPOSED, dims)(
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


def _dimensions(functions: Mapping[int, Callable[..., Tensor]], dims: int) -> Callable[..., Tensor]:
    if dims not in functions:
        raise UnknownFormError(f"it has {dims} axes beside batch and channel; possible: 1 to 3")
    return functions[dims]


def _gemm(attributes: Attributes, inputs: Inputs) -> tuple[Tensor, ...]:
    a, b, c = (*inputs, None)[:3]
    a = a.t() if attributes.get("transA", 0) else a
    b = b.t() if attributes.get("transB", 0) else b
    y = attributes.get("alpha", 1.0) * (a @ b)
    return (y if c is None else y + attributes.get("beta", 1.0) * c,)


def _standardised(x: Tensor, axes: Sequence[int], epsilon: float) -> tuple[Tensor, Tensor, Tensor]:
    """Return `x` of mean 0 and variance 1 over `axes`, its mean, and one over its deviation."""
    mean = x.mean(list(axes), keepdim=True)
    centred = x - mean
    inverse = (centred.square().mean(list(axes), keepdim=True) + epsilon).rsqrt()
    return centred * inverse, mean, inverse


def _affine(x: Tensor, gain: Tensor | None, bias: Tensor | None, axis: int | None) -> Tensor:
    """Return `x * gain + bias`, which lie along `axis`, or broadcast as they are for None."""
    for tensor, function in ((gain, torch.mul), (bias, torch.add)):
        if tensor is not None:
            shape = tensor.shape if axis is None else [-1, *[1] * (x.dim() - axis - 1)]
            x = function(x, tensor.reshape(shape))
    return x


def _layer_norm(attributes: Attributes, inputs: Inputs) -> tuple[Tensor, ...]:
    x, gain, bias = (*inputs, None)[:3]
    first = attributes.get("axis", -1) % x.dim()
    normed, mean, inverse = _standardised(x, range(first, x.dim()), attributes.get("epsilon", 1e-5))
    return _affine(normed, gain, bias, None), mean, inverse


def _rms_norm(attributes: Attributes, inputs: Inputs) -> tuple[Tensor, ...]:
    x, gain = inputs
    axes = list(range(attributes.get("axis", -1) % x.dim(), x.dim()))
    power = x.square().mean(axes, keepdim=True) + attributes.get("epsilon", 1e-5)
    return (x * power.rsqrt() * gain,)


def _instance_norm(attributes: Attributes, inputs: Inputs) -> tuple[Tensor, ...]:
    x, gain, bias = inputs
    normed, *_ = _standardised(x, range(2, x.dim()), attributes.get("epsilon", 1e-5))
    return (_affine(normed, gain, bias, 1),)


def _group_norm(attributes: Attributes, inputs: Inputs) -> tuple[Tensor, ...]:
    """Compute a group norm; gain and bias are per group before opset 21, per channel since."""
    x, gain, bias = inputs
    groups = attributes["num_groups"]
    split = x.reshape(x.shape[0], groups, -1)
    normed, *_ = _standardised(split, [2], attributes.get("epsilon", 1e-5))
    if gain.numel() == groups != x.shape[1]:
        return (_affine(normed, gain, bias, 1).reshape(x.shape),)
    return (_affine(normed.reshape(x.shape), gain, bias, 1),)


def _batch_norm(attributes: Attributes, inputs: Inputs) -> tuple[Tensor, ...]:
    x, gain, bias, mean, variance = inputs
    if attributes.get("training_mode", 0):
        # A norm without statistics uses those of its batch, and returns the updated ones.
        axes = [axis for axis in range(x.dim()) if axis != 1]
        now = (x.mean(axes), x.var(axes, correction=0))
        keep = attributes.get("momentum", 0.9)
        later = [
            old * keep + new * (1 - keep) for old, new in zip((mean, variance), now, strict=True)
        ]
        mean, variance = now
    else:
        later = []
    inverse = (variance + attributes.get("epsilon", 1e-5)).rsqrt()
    return (_affine(_affine(x, None, -mean, 1), gain * inverse, bias, 1), *later)


def _lp_norm(attributes: Attributes, inputs: Inputs) -> tuple[Tensor, ...]:
    x, axis = inputs[0], attributes.get("axis", -1)
    size = torch.linalg.vector_norm(x, attributes.get("p", 2), axis, keepdim=True)
    return (x / size,)


def _mean_variance(attributes: Attributes, inputs: Inputs) -> tuple[Tensor, ...]:
    axes = attributes.get("axes", [0, 2, 3])
    x = inputs[0] - inputs[0].mean(axes, keepdim=True)
    return (x / (x.square().mean(axes, keepdim=True).sqrt() + 1e-9),)


def _window(attributes: Attributes, x: Tensor) -> tuple[list[int], list[int], list[int]]:
    """Return kernel, strides and pads of a pooling, with what `ceil_mode` adds at the end."""
    kernel = list(attributes["kernel_shape"])
    dims = len(kernel)
    steps = list(attributes.get("strides", [1] * dims))
    pads = _pads(attributes, x, kernel, steps)
    if attributes.get("ceil_mode", 0):
        dilations = attributes.get("dilations", [1] * dims)
        for axis in range(dims):
            reach = (kernel[axis] - 1) * dilations[axis] + 1
            length = x.shape[axis + 2] + pads[axis] + pads[axis + dims]
            count = math.ceil((length - reach) / steps[axis]) + 1
            # A window that would begin in the padding at the end is none.
            if (count - 1) * steps[axis] >= x.shape[axis + 2] + pads[axis]:
                count -= 1
            pads[axis + dims] += max(0, (count - 1) * steps[axis] + reach - length)
    return kernel, steps, pads


def _max_pool(attributes: Attributes, inputs: Inputs) -> tuple[Tensor, ...]:
    x = inputs[0]
    if attributes.get("_outputs", 1) > 1:
        raise UnknownFormError("it also returns the places of the largest values")
    kernel, steps, pads = _window(attributes, x)
    dims = len(kernel)
    lowest = -math.inf if x.is_floating_point() else torch.iinfo(x.dtype).min
    dilations = list(attributes.get("dilations", [1] * dims))
    padded = _padded(x, pads, lowest)
    return (_dimensions(_MAX, dims)(padded, kernel, steps, 0, dilations),)


def _average_pool(attributes: Attributes, inputs: Inputs) -> tuple[Tensor, ...]:
    x = inputs[0]
    if any(n != 1 for n in attributes.get("dilations", [1])):
        raise UnknownFormError("it averages values that lie apart (dilations)")
    kernel, steps, pads = _window(attributes, x)
    pool = _dimensions(_AVERAGE, len(kernel))
    total = pool(_padded(x, pads), kernel, steps) * math.prod(kernel)
    inside = torch.ones_like(x)
    if attributes.get("count_include_pad", 0):
        # Padding counts, but not what `ceil_mode` adds beyond it.
        own = _pads(attributes, x, kernel, steps)
        inside = _padded(inside, own, 1.0)
        pads = [new - old for new, old in zip(pads, own, strict=True)]
    count = pool(_padded(inside, pads), kernel, steps) * math.prod(kernel)
    return (total / count.round(),)


def _global(function: Callable[[Tensor, list[int]], Tensor]) -> Operator:
    return lambda _, inputs: (function(inputs[0], list(range(2, inputs[0].dim()))),)


LAYERS: Mapping[str, Operator] = {
    "AveragePool": _average_pool,
    "BatchNormalization": _batch_norm,
    "Conv": _conv,
    "ConvTranspose": _conv_transpose,
    "Gemm": _gemm,
    "GlobalAveragePool": _global(lambda x, axes: x.mean(axes, keepdim=True)),
    "GlobalMaxPool": _global(lambda x, axes: x.amax(axes, keepdim=True)),
    "GroupNormalization": _group_norm,
    "InstanceNormalization": _instance_norm,
    "LayerNormalization": _layer_norm,
    "LpNormalization": _lp_norm,
    "MaxPool": _max_pool,
    "MeanVarianceNormalization": _mean_variance,
    "RMSNormalization": _rms_norm,
}
