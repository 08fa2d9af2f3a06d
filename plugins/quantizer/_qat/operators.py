"""ONNX operators in PyTorch, with gradients.

Each takes the node's attributes and its inputs, None for an optional one that is left out, and
returns its outputs. The operators are in the versions of opset 18 to 22; `network.py` refuses the
others by name. Those that compare, round or count give no gradient, as in PyTorch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from onnx import helper
from torch import Tensor
from torch.nn import functional

from plugins.quantizer._qat.layers import LAYERS
from plugins.quantizer._qat.moving import MOVING
from plugins.quantizer._qat.picking import PICKING
from plugins.quantizer._qat.recurrent import RECURRENT
from plugins.quantizer._qat.resizing import RESIZING
from plugins.quantizer._qat.values import Attributes, Inputs, Operator, UnknownFormError, numbers

__all__ = ["OPERATORS"]


def _reduced(function: Callable[..., Tensor]) -> Operator:
    def reduce(attributes: Attributes, inputs: Inputs) -> tuple[Tensor, ...]:
        x, axes = (*inputs, None)[:2]
        chosen = numbers(axes) or attributes.get("axes")
        if chosen is None and attributes.get("noop_with_empty_axes", 0):
            return (x,)
        axes = sorted(axis % x.dim() for axis in chosen) if chosen else list(range(x.dim()))
        return (function(x, axes, bool(attributes.get("keepdims", 1))),)

    return reduce


def _mean(x: Tensor, axes: list[int], keep: bool) -> Tensor:
    if x.is_floating_point():
        return x.mean(axes, keep)
    return torch.div(
        x.sum(axes, keep), x.numel() // max(1, x.sum(axes).numel()), rounding_mode="trunc"
    )


def _extreme(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    def extreme(x: Tensor, axes: list[int], keep: bool) -> Tensor:
        if x.dtype is torch.bool:
            return function(x.to(torch.uint8), axes, keep).to(torch.bool)
        return function(x, axes, keep)

    return extreme


def _product(x: Tensor, axes: list[int], keep: bool) -> Tensor:
    for axis in reversed(axes):
        x = x.prod(axis, keepdim=keep)
    return x


def _log_of_sum(x: Tensor, axes: list[int], keep: bool) -> Tensor:
    return x.sum(axes, keep).log()


def _extremum_index(function: Callable[..., Tensor]) -> Operator:
    def index(attributes: Attributes, inputs: Inputs) -> tuple[Tensor, ...]:
        x, axis = inputs[0], attributes.get("axis", 0)
        if attributes.get("select_last_index", 0):
            found = x.shape[axis] - 1 - function(x.flip(axis), axis, True)
        else:
            found = function(x, axis, True)
        return (found if attributes.get("keepdims", 1) else found.squeeze(axis),)

    return index


def _clip(attributes: Attributes, inputs: Inputs) -> tuple[Tensor, ...]:
    x, low, high = (*inputs, None, None)[:3]
    low, high = (attributes.get(n) if b is None else b for n, b in (("min", low), ("max", high)))
    return (x if low is None and high is None else torch.clamp(x, low, high),)


def _gelu(attributes: Attributes, inputs: Inputs) -> tuple[Tensor, ...]:
    return (functional.gelu(inputs[0], approximate=attributes.get("approximate", "none")),)


def _div(_: Attributes, inputs: Inputs) -> tuple[Tensor, ...]:
    whole = not inputs[0].is_floating_point()
    return (torch.div(*inputs, rounding_mode="trunc" if whole else None),)


def _mod(attributes: Attributes, inputs: Inputs) -> tuple[Tensor, ...]:
    return (torch.fmod(*inputs) if attributes.get("fmod", 0) else torch.remainder(*inputs),)


def _pow(_: Attributes, inputs: Inputs) -> tuple[Tensor, ...]:
    base, exponent = inputs
    if exponent.numel() == 1:  # PyTorch knows the gradient at 0 of a number
        return (torch.pow(base, exponent.item()).to(base.dtype),)
    return (torch.pow(base, exponent).to(base.dtype),)


def _cast(attributes: Attributes, inputs: Inputs) -> tuple[Tensor, ...]:
    dtype = helper.tensor_dtype_to_np_dtype(attributes["to"])
    return (inputs[0].to(torch.from_numpy(np.empty(0, dtype)).dtype),)


def _hard_sigmoid(attributes: Attributes, inputs: Inputs) -> tuple[Tensor, ...]:
    alpha, beta = attributes.get("alpha", 0.2), attributes.get("beta", 0.5)
    return ((alpha * inputs[0] + beta).clamp(0, 1),)


def _prelu(_: Attributes, inputs: Inputs) -> tuple[Tensor, ...]:
    x, slope = inputs
    return (torch.where(x < 0, x * slope, x),)


def _softmax(function: Callable[..., Tensor]) -> Operator:
    return lambda attributes, inputs: (function(inputs[0], dim=attributes.get("axis", -1)),)


def _with(function: Callable[..., Tensor], **defaults: float) -> Operator:
    """Return an operator of one input and of numbers that are attributes, in order."""
    return lambda attributes, inputs: (
        function(inputs[0], *(attributes.get(name, n) for name, n in defaults.items())),
    )


def _folded(function: Callable[[Tensor, Tensor], Tensor]) -> Operator:
    """Return an operator of any number of inputs, which `function` takes two at a time."""

    def fold(_: Attributes, inputs: Inputs) -> tuple[Tensor, ...]:
        result = inputs[0]
        for other in inputs[1:]:
            result = function(result, other)
        return (result,)

    return fold


def _average(attributes: Attributes, inputs: Inputs) -> tuple[Tensor, ...]:
    (total,) = _folded(torch.add)(attributes, inputs)
    return (total / len(inputs),)


def _is_inf(attributes: Attributes, inputs: Inputs) -> tuple[Tensor, ...]:
    x = inputs[0]
    found = torch.zeros_like(x, dtype=torch.bool)
    if attributes.get("detect_positive", 1):
        found |= x == float("inf")
    if attributes.get("detect_negative", 1):
        found |= x == -float("inf")
    return (found,)


def _cumulated(attributes: Attributes, inputs: Inputs) -> tuple[Tensor, ...]:
    x, axis = inputs[0], int(inputs[1])
    x = x.flip(axis) if attributes.get("reverse", 0) else x
    total = x.cumsum(axis).to(x.dtype)
    total = total - x if attributes.get("exclusive", 0) else total
    return (total.flip(axis) if attributes.get("reverse", 0) else total,)


def _einsum(attributes: Attributes, inputs: Inputs) -> tuple[Tensor, ...]:
    return (torch.einsum(attributes["equation"].replace(" ", ""), *inputs),)


def _dropout(_: Attributes, inputs: Inputs) -> tuple[Tensor, ...]:
    training = inputs[2] if len(inputs) > 2 else None  # noqa: PLR2004  # data, ratio, training
    if training is not None and bool(training):
        raise UnknownFormError("it drops values, as in training")
    return inputs[0], torch.ones_like(inputs[0], dtype=torch.bool)


def _plain(function: Callable[..., Tensor]) -> Operator:
    return lambda _, inputs: (function(*inputs),)


#: Operators of a tensor, value by value.
_EACH: Mapping[str, Callable[..., Any]] = {
    "Abs": torch.abs,
    "Acos": torch.acos,
    "Asin": torch.asin,
    "Atan": torch.atan,
    "Ceil": torch.ceil,
    "Cos": torch.cos,
    "Cosh": torch.cosh,
    "Erf": torch.erf,
    "Exp": torch.exp,
    "Floor": torch.floor,
    "HardSwish": functional.hardswish,
    "IsNaN": torch.isnan,
    "Log": torch.log,
    "Mish": functional.mish,
    "Neg": torch.neg,
    "Not": torch.logical_not,
    "Reciprocal": torch.reciprocal,
    "Relu": functional.relu,
    "Round": torch.round,  # halves to even, as ONNX
    "Sigmoid": torch.sigmoid,
    "Sign": torch.sign,
    "Sin": torch.sin,
    "Sinh": torch.sinh,
    "Softplus": functional.softplus,
    "Softsign": functional.softsign,
    "Sqrt": torch.sqrt,
    "Tan": torch.tan,
    "Tanh": torch.tanh,
}
#: Operators of two tensors, value by value.
_PAIRS: Mapping[str, Callable[..., Any]] = {
    "Add": torch.add,
    "And": torch.logical_and,
    "Equal": torch.eq,
    "Greater": torch.gt,
    "GreaterOrEqual": torch.ge,
    "Less": torch.lt,
    "LessOrEqual": torch.le,
    "MatMul": torch.matmul,
    "Mul": torch.mul,
    "Or": torch.logical_or,
    "Sub": torch.sub,
    "Xor": torch.logical_xor,
}
OPERATORS: Mapping[str, Operator] = {
    **{name: _plain(function) for name, function in (*_EACH.items(), *_PAIRS.items())},
    "ArgMax": _extremum_index(torch.argmax),
    "ArgMin": _extremum_index(torch.argmin),
    "Cast": _cast,
    "CastLike": lambda _, inputs: (inputs[0].to(inputs[1].dtype),),
    "Celu": _with(functional.celu, alpha=1.0),
    "Clip": _clip,
    "CumSum": _cumulated,
    "Div": _div,
    "Dropout": _dropout,
    "Einsum": _einsum,
    "Elu": _with(functional.elu, alpha=1.0),
    "Gelu": _gelu,
    "HardSigmoid": _hard_sigmoid,
    "IsInf": _is_inf,
    "LeakyRelu": _with(functional.leaky_relu, alpha=0.01),
    "LogSoftmax": _softmax(torch.log_softmax),
    "Max": _folded(torch.maximum),
    "Mean": _average,
    "Min": _folded(torch.minimum),
    "Mod": _mod,
    "PRelu": _prelu,
    "Pow": _pow,
    "ReduceL1": _reduced(lambda x, axes, keep: x.abs().sum(axes, keep)),
    # Not `norm`: the gradient of the root is infinite at 0 there too, but of no use.
    "ReduceL2": _reduced(lambda x, axes, keep: torch.linalg.vector_norm(x, 2, axes, keep)),
    "ReduceLogSum": _reduced(_log_of_sum),
    "ReduceLogSumExp": _reduced(torch.logsumexp),
    "ReduceMax": _reduced(_extreme(torch.amax)),
    "ReduceMean": _reduced(_mean),
    "ReduceMin": _reduced(_extreme(torch.amin)),
    "ReduceProd": _reduced(_product),
    "ReduceSum": _reduced(lambda x, axes, keep: x.sum(axes, keep)),
    "ReduceSumSquare": _reduced(lambda x, axes, keep: x.square().sum(axes, keep)),
    "Selu": lambda attributes, inputs: (_selu(attributes, inputs[0]),),
    "Softmax": _softmax(torch.softmax),
    "Sum": _folded(torch.add),
    "ThresholdedRelu": lambda attributes, inputs: (
        inputs[0] * (inputs[0] > attributes.get("alpha", 1.0)),
    ),
    **LAYERS,
    **MOVING,
    **PICKING,
    **RECURRENT,
    **RESIZING,
}


def _selu(attributes: Attributes, x: Tensor) -> Tensor:
    alpha = attributes.get("alpha", 1.6732632423543772)
    gamma = attributes.get("gamma", 1.0507009873554805)
    result: Tensor = torch.where(x > 0, x, alpha * torch.expm1(x.clamp_max(0))) * gamma
    return result
