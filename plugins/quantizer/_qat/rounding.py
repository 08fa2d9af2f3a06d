"""Rounding to integers that can be learned: weights, biases and the ranges of activations.

The gradient passes straight through the rounding within the range; a range learns from what it
clips and from what it rounds (Esser et al. 2020, "Learned step size quantization"; Bhalgat et al.
2020, "LSQ+", for ranges that are not symmetric). Both ends of a range, and the scales of weights,
are learned as the logarithm of a factor: one learning rate then serves ranges that differ by
orders of magnitude (Jain et al. 2020, "Trained quantization thresholds").
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["Bias", "Ranges", "Weight", "rounded"]


def rounded(x: Tensor, scale: Tensor, zero: Tensor, least: int, most: int) -> Tensor:
    """Return `x` rounded to integers from `least` to `most`, and back.

    Scale and zero point have one value, or the rank of `x` and one axis that is longer than 1.
    """
    if scale.numel() == 1:
        return torch._fake_quantize_learnable_per_tensor_affine(  # noqa: SLF001  # the public ones learn no range
            x, scale.reshape(1), zero.reshape(1), least, most, 1.0
        )
    axis = next(index for index, size in enumerate(scale.shape) if size > 1)
    return torch._fake_quantize_learnable_per_channel_affine(  # noqa: SLF001  # as above
        x, scale.reshape(-1), zero.reshape(-1), axis, least, most, 1.0
    )


class Ranges:
    """The ranges that activations are rounded to, by the name of their scale, from low to high.

    `factors`, of shape (ranges, 2), holds the logarithms by which the ends were moved. A range
    that follows from its operator (a sigmoid's) is `fixed`.
    """

    def __init__(self) -> None:
        self.index: dict[str, int] = {}
        self._ends: list[tuple[float, float]] = []
        self.bounds: list[tuple[int, int]] = []
        self._fixed: list[bool] = []
        self.factors = torch.zeros(0, 2)

    def add(
        self, name: str, scale: float, zero: int, bounds: tuple[int, int], *, fixed: bool
    ) -> None:
        """Add the range that a scale and a zero point describe; the first of a name counts."""
        if name in self.index:
            return
        self.index[name] = len(self.index)
        self._ends.append(((bounds[0] - zero) * scale, (bounds[1] - zero) * scale))
        self.bounds.append(bounds)
        self._fixed.append(fixed)

    def freeze(self) -> None:
        """Make the tensors; nothing is added after this."""
        self.factors = torch.zeros(len(self.index), 2, requires_grad=True)
        self._low, self._high = (
            torch.tensor(self._ends, dtype=torch.float64).reshape(-1, 2).unbind(1)
        )
        self._levels = torch.tensor([most - least for least, most in self.bounds])
        self._least = torch.tensor([least for least, _ in self.bounds])
        self._free = 1.0 - torch.tensor(self._fixed, dtype=torch.float32)[:, None]

    def scales_and_zeros(self) -> tuple[Tensor, Tensor]:
        """Return every scale, and every zero point, not yet a whole number; shape (ranges,)."""
        moved = (self.factors * self._free).double().exp()
        low, high = self._low * moved[:, 0], self._high * moved[:, 1]
        scale = (high - low) / self._levels
        return scale.float(), (self._least - low / scale).float()


@dataclass
class Weight:
    """A constant that is rounded per channel of `axis`, or as a whole where `axis` is None.

    `value` is learned, and so is the logarithm `factor` of the change of its scale. Scale, zero
    point and factor have the constant's rank, or none.
    """

    value: Tensor
    scale: Tensor
    zero: Tensor
    least: int
    most: int
    factor: Tensor

    def scales(self) -> Tensor:
        """Return the scale of every channel."""
        return self.scale * self.factor.exp()

    def __call__(self) -> Tensor:
        """Return the weights as the integers represent them."""
        return rounded(self.value, self.scales(), self.zero, self.least, self.most)

    def integers(self) -> Tensor:
        """Return the integers that are written to the graph."""
        with torch.no_grad():
            whole = (self.value / self.scales()).round() + self.zero
            return whole.clamp(self.least, self.most).to(torch.int64)


@dataclass
class Bias:
    """A bias in 32 bits, too fine to be rounded here; its scale is that of `data` by `weight`."""

    value: Tensor
    data: str
    weight: str
