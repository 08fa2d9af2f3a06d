"""Gated linear units for an NPU: two convolutions in place of one that is split.

Splitting 96 channels in half cuts through the NPU's blocks of 32, and costs the compiler more than
the convolution: 1.0 s against 4.1 s for one residual layer of 11,025 steps (QNN 2.51).
"""

from __future__ import annotations

import copy
from typing import cast

import torch
from torch import Tensor, nn

from plugins.model._hybrid.norms import PlaneNorm

__all__ = ["Gate", "apart"]

#: Within FP16, and beyond everything that a trained network computes.
_BOUND = 60_000.0


def apart(x: Tensor) -> Tensor:
    """Return `x`, kept apart from the convolution that made it.

    The HTP computes an activation that it fuses with a convolution coarsely: 47 dB for GELU and
    sigmoid in FP16, whatever the finalisation mode, against 64 to 67 dB on their own. It fuses
    this clamp with the convolution instead (QNN 2.51, emulated).
    """
    return x.clamp(-_BOUND, _BOUND)


class Gate(nn.Module):
    """`a * sigmoid(b)`, where one convolution gave `a` and `b`, normalised together or not."""

    def __init__(self, conv: nn.Conv2d, norm: PlaneNorm | None = None) -> None:
        """Share the weights of `conv`, half for `a` and half for `b`, and those of `norm`."""
        super().__init__()
        self.value, self.gate = (_half(conv, index) for index in (0, 1))
        self.norm = norm

    def forward(self, x: Tensor) -> Tensor:
        """Map `(1, channel, height, width)` to half of the convolution's channels."""
        value, gate = self.value(x), self.gate(x)
        if self.norm is None:
            return cast("Tensor", value * torch.sigmoid(apart(gate)))
        value, gate = self.norm.together(value, gate)
        return value * torch.sigmoid(gate)


def _half(conv: nn.Conv2d, index: int) -> nn.Conv2d:
    """Return the convolution that gives one half of the channels of `conv`."""
    half = copy.deepcopy(conv)
    half.out_channels //= 2
    half.weight = nn.Parameter(conv.weight.detach().chunk(2)[index])
    if conv.bias is not None:
        half.bias = nn.Parameter(conv.bias.detach().chunk(2)[index])
    return half
