"""The network: a few convolutions at the small size, and one pixel shuffle at the end.

The shape is ESPCN's (Shi et al. 2016, "Real-Time Single Image and Video Super-Resolution Using an
Efficient Sub-Pixel Convolutional Neural Network"). The enlarged input image is added as in ABPN
(Du et al. 2021, "Anchor-based Plain Net for Mobile Image Super-Resolution"), by repeating channels.
This addition survives 8 bits. ONNX Runtime 1.31 cannot run a quantised bicubic `Resize` on the CPU.
"""

from __future__ import annotations

import torch
from torch import nn

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
        )
        self.shuffle = nn.PixelShuffle(SCALE)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Return the enlarged image; its values may be slightly outside 0 to 1."""
        # Each channel is repeated four times; the shuffle makes its nearest-neighbour enlargement.
        channels = torch.split(image, 1, dim=1)
        anchor = torch.cat([c for c in channels for _ in range(SCALE**2)], dim=1)
        enlarged: torch.Tensor = self.shuffle(self.detail(image) + anchor)
        return enlarged
