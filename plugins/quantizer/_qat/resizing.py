"""ONNX operators that interpolate values, or rearrange them in space, in PyTorch.

Resize goes axis by axis: each is a product with a matrix of weights, or a choice of places.
Formulas: the description of Resize in opset 19; with `antialias`, filters grow with the step.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from plugins.quantizer._qat.values import Attributes, Inputs, Operator, UnknownFormError, numbers

__all__ = ["RESIZING"]

GRID_MODES = {"linear": "bilinear", "cubic": "bicubic"}


def _resize(attributes: Attributes, inputs: Inputs) -> tuple[Tensor, ...]:
    x, _, scales, sizes = (*inputs, None, None, None)[:4]
    axes = [axis % x.dim() for axis in attributes.get("axes", range(x.dim()))]
    if sizes is not None and sizes.numel():
        wanted = numbers(sizes) or []
        factors = [n / x.shape[axis] for n, axis in zip(wanted, axes, strict=True)]
        policy = attributes.get("keep_aspect_ratio_policy", "stretch")
        if policy != "stretch":
            same = min(factors) if policy == "not_larger" else max(factors)
            factors = [same] * len(axes)
            wanted = [math.floor(same * x.shape[axis] + 0.5) for axis in axes]
    else:
        factors = [float(n) for n in scales.tolist()]
        wanted = [math.floor(x.shape[a] * n) for a, n in zip(axes, factors, strict=True)]
    for axis, factor, length in zip(axes, factors, wanted, strict=True):
        if factor != 1 or length != x.shape[axis]:
            x = _resized(attributes, x, axis, factor, length)
    return (x,)


def _resized(attributes: Attributes, x: Tensor, axis: int, factor: float, length: int) -> Tensor:
    """Return `x` with `length` values along `axis`, `factor` times as many as there were."""
    places = _places(attributes, x.shape[axis], factor, length)
    if attributes.get("mode", "nearest") == "nearest":
        chosen = _rounded(attributes, places).clip(0, x.shape[axis] - 1).astype(np.int64)
        return x.index_select(axis, torch.from_numpy(chosen))
    weights = torch.from_numpy(_weights(attributes, places, x.shape[axis], factor))
    product: Tensor = torch.tensordot(x, weights.to(x.dtype), ([axis], [1]))
    return product.movedim(-1, axis)


def _places(attributes: Attributes, before: int, factor: float, after: int) -> np.ndarray:
    """Return the position of each of `after` values among the `before` old ones."""
    index = np.arange(after, dtype=np.float64)
    mode = attributes.get("coordinate_transformation_mode", "half_pixel")
    half = (index + 0.5) / factor - 0.5
    if mode == "half_pixel":
        return half
    if mode == "pytorch_half_pixel":
        return half if after > 1 else np.zeros(1)
    if mode == "half_pixel_symmetric":
        return half + before / 2 * (1 - after / (factor * before))
    if mode == "align_corners":
        return index * (before - 1) / (after - 1) if after > 1 else np.zeros(1)
    if mode == "asymmetric":
        return index / factor
    raise UnknownFormError(f"it places values by `{mode}`")


def _rounded(attributes: Attributes, places: np.ndarray) -> np.ndarray:
    mode = attributes.get("nearest_mode", "round_prefer_floor")
    found: np.ndarray
    if mode == "round_prefer_floor":
        found = np.ceil(places - 0.5)
    elif mode == "round_prefer_ceil":
        found = np.floor(places + 0.5)
    else:
        found = np.floor(places) if mode == "floor" else np.ceil(places)
    return found


def _weights(attributes: Attributes, places: np.ndarray, before: int, factor: float) -> np.ndarray:
    """Return the weight of each old value in each new one, shape (after, before)."""
    cubic = attributes["mode"] == "cubic"
    if attributes["mode"] not in ("linear", "cubic"):
        raise UnknownFormError(f"its mode is `{attributes['mode']}`")
    smooth = bool(attributes.get("antialias", 0)) and factor < 1
    narrowing = factor if smooth else 1.0
    reach = math.ceil((2 if cubic else 1) / narrowing)
    around = np.floor(places)[:, None] + np.arange(1 - reach, reach + 1)
    distance = np.abs(places[:, None] - around) * narrowing
    if cubic:
        weights = _cubic(distance, attributes.get("cubic_coeff_a", -0.75))
    else:
        weights = np.clip(1 - distance, 0, None)
    if attributes.get("exclude_outside", 0):
        weights[(around < 0) | (around >= before)] = 0
    weights /= weights.sum(1, keepdims=True)
    result = np.zeros((len(places), before))
    rows = np.broadcast_to(np.arange(len(places))[:, None], around.shape)
    np.add.at(result, (rows, around.clip(0, before - 1).astype(np.int64)), weights)
    return result


def _cubic(distance: np.ndarray, a: float) -> np.ndarray:
    """Keys 1981, "Cubic convolution interpolation for digital image processing"."""
    near = ((a + 2) * distance - (a + 3)) * distance**2 + 1
    far = ((a * distance - 5 * a) * distance + 8 * a) * distance - 4 * a
    return np.where(distance <= 1, near, np.where(distance < 2, far, 0))  # noqa: PLR2004  # its reach


def _depth_to_space(attributes: Attributes, inputs: Inputs) -> tuple[Tensor, ...]:
    x, size = inputs[0], attributes["blocksize"]
    batch, channels, height, width = x.shape
    if attributes.get("mode", "DCR") == "CRD":
        return (functional.pixel_shuffle(x, size),)
    parts = x.reshape(batch, size, size, channels // size**2, height, width)
    turned = parts.permute(0, 3, 4, 1, 5, 2)
    return (turned.reshape(batch, channels // size**2, height * size, width * size),)


def _space_to_depth(attributes: Attributes, inputs: Inputs) -> tuple[Tensor, ...]:
    x, size = inputs[0], attributes["blocksize"]
    batch, channels, height, width = x.shape
    parts = x.reshape(batch, channels, height // size, size, width // size, size)
    turned = parts.permute(0, 3, 5, 1, 2, 4)
    return (turned.reshape(batch, channels * size**2, height // size, width // size),)


def _grid_sample(attributes: Attributes, inputs: Inputs) -> tuple[Tensor, ...]:
    x, grid = inputs
    mode = str(attributes.get("mode", "linear"))
    return (
        functional.grid_sample(
            x,
            grid,
            mode=GRID_MODES.get(mode, mode),
            padding_mode=attributes.get("padding_mode", "zeros"),
            align_corners=bool(attributes.get("align_corners", 0)),
        ),
    )


RESIZING: Mapping[str, Operator] = {
    "DepthToSpace": _depth_to_space,
    "GridSample": _grid_sample,
    "Resize": _resize,
    "SpaceToDepth": _space_to_depth,
}
