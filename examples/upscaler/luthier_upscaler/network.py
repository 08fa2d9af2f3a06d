"""The network: a bicubic enlargement, and a small convolutional net that adds what it lacks.

The net is ESPCN's (Shi et al. 2016, "Real-Time Single Image and Video Super-Resolution Using an
Efficient Sub-Pixel Convolutional Neural Network"): all layers at the small size, and one pixel
shuffle at the end.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

__all__ = ["SCALE", "Upscaler"]

SCALE = 2
WIDTH = 32


class Upscaler(nn.Module):
    """Maps images `(batch, 3, height, width)` to `(batch, 3, 2 height, 2 width)`."""

    def __init__(self) -> None:
        super().__init__()
        self.detail = nn.Sequential(
            nn.Conv2d(3, WIDTH, 5, padding=2),
            nn.ReLU(),
            nn.Conv2d(WIDTH, WIDTH, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(WIDTH, WIDTH, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(WIDTH, 3 * SCALE**2, 3, padding=1),
            nn.PixelShuffle(SCALE),
        )

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Return the enlarged image; values may leave 0 to 1 by a little."""
        smooth = functional.interpolate(
            image, scale_factor=SCALE, mode="bicubic", align_corners=False
        )
        return smooth + self.detail(image)
