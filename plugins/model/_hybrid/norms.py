"""The group norms of HTDemucs's residuals in forms that an NPU keeps exact.

Both take one group over the channels and time, as `DConv` has them, and a 4-D tensor.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["FrequencyNorm", "PlaneNorm", "one_group"]


def one_group(norm: nn.GroupNorm) -> nn.GroupNorm:
    """Return `norm`; raises `ValueError` when it has more than one group."""
    if norm.num_groups != 1:
        raise ValueError(
            f"model `HTDemucs` has a norm of {norm.num_groups} groups; its NPU form supports 1\n"
            "  possible: the plain core, plugins.model._hybrid.split"
        )
    return norm


class PlaneNorm(nn.Module):
    """Group norm over given axes, as one mean and one variance for the whole tensor.

    It serves the time branch and the transformer: two single numbers quantise well, where a layer
    norm would need a gain for every sample.
    """

    def __init__(
        self, norm: nn.GroupNorm, shape: Sequence[int], axes: Sequence[int], parts: int = 1
    ) -> None:
        """Share the gain and offset of `norm` in `shape`; mean and variance go over `axes`.

        `parts` says into how many tensors of equal size the channels are divided.
        """
        super().__init__()
        self.axes = tuple(axes)
        self.eps = one_group(norm).eps
        self.weights, self.biases = (
            nn.ParameterList(piece.reshape(*shape) for piece in values.detach().chunk(parts))
            for values in (norm.weight, norm.bias)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Normalise `x`, whose shape stays."""
        return self.together(x)[0]

    def together(self, *parts: Tensor) -> tuple[Tensor, ...]:
        """Normalise the parts of one tensor, whose shapes stay."""
        mean = self._mean(parts)
        centred = [part - mean for part in parts]
        deviation = torch.sqrt(self._mean([part * part for part in centred]) + self.eps)
        # Gain and deviation are combined while they are small: one pass less over the large tensor.
        terms = zip(centred, self.weights, self.biases, strict=True)
        return tuple(part * (weight / deviation) + bias for part, weight, bias in terms)

    def _mean(self, parts: Sequence[Tensor]) -> Tensor:
        means = [part.mean(dim=self.axes, keepdim=True) for part in parts]
        return means[0] if len(means) == 1 else torch.stack(means).mean(0)


class FrequencyNorm(nn.Module):
    """Group norm of every frequency by itself, as one layer norm.

    Music is far weaker at the top of the spectrum than at the bottom. A tensor of the rows'
    variances, quantised with one scale for all, loses the weak rows: with noise that falls by
    59 dB over 512 rows, 26 dB are left in 16 bits and nothing in 8. A layer norm keeps its
    statistics in the NPU's accumulators: 47 dB in 16 bits (onnxruntime-qnn 2.7.0, emulated).
    """

    def __init__(self, norm: nn.GroupNorm, frames: int) -> None:
        """Repeat the gain and offset of `norm` for chunks of `frames` frames."""
        super().__init__()
        self.eps = one_group(norm).eps
        self.shape = (frames, norm.num_channels)
        self.weight = nn.Parameter(norm.weight.detach().repeat(frames))
        self.bias = nn.Parameter(norm.bias.detach().repeat(frames))

    def forward(self, x: Tensor) -> Tensor:
        """Normalise `(1, channel, frequency, frame)` over channels and frames."""
        size = self.weight.numel()
        # The NPU keeps the tensor with channels last, so this moves nothing there.
        flat = x.permute(0, 2, 3, 1).reshape(-1, size)
        flat = functional.layer_norm(flat, (size,), self.weight, self.bias, self.eps)
        return flat.reshape(1, -1, *self.shape).permute(0, 3, 1, 2)
