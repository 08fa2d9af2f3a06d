"""Modules of convolutions, resizing, pooling and norms."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn import functional

from tools.coverage.case import Case, noise, registered

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["CASES"]

CASES: list[Case] = []
LINE, IMAGE, VOLUME = noise(1, 8, 64), noise(1, 4, 16, 16), noise(1, 4, 8, 8, 8)


@registered(CASES, x=LINE)
class _ConvGroups1d(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Conv1d(8, 16, 5, padding=4, dilation=2, groups=4)
        self.b = nn.Conv1d(16, 8, 3, stride=2, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.b(functional.leaky_relu(self.a(x), 0.1))


@registered(CASES, x=IMAGE)
class _ConvDepthwise2d(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.depth = nn.Conv2d(4, 8, 3, padding=1, groups=4)
        self.point = nn.Conv2d(8, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.point(functional.relu6(self.depth(x)))


@registered(CASES, x=VOLUME)
class _Conv3d(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Conv3d(4, 8, 3, padding=1)
        self.b = nn.Conv3d(8, 4, 3, stride=2, groups=2)

    def forward(self, x: Tensor) -> Tensor:
        return self.b(torch.relu(self.a(x)))


@registered(CASES, x=LINE)
class _ConvTransposed1d(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.down = nn.Conv1d(8, 16, 8, 4, 2)
        self.up = nn.ConvTranspose1d(16, 4, 8, 4, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.up(functional.gelu(self.down(x)))


@registered(CASES, x=IMAGE)
class _ConvTransposedGroups2d(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.up = nn.ConvTranspose2d(4, 8, 3, stride=2, padding=1, output_padding=1, groups=2)
        self.out = nn.Conv2d(8, 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(functional.silu(self.up(x)))


@registered(CASES, x=VOLUME)
class _ConvTransposed3d(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.up = nn.ConvTranspose3d(4, 4, 2, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        return torch.tanh(self.up(x))


@registered(CASES, x=IMAGE)
class _ConvPadded(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Conv2d(4, 8, 3, padding=1, padding_mode="reflect")
        self.b = nn.Conv2d(8, 4, 3, padding=1, padding_mode="circular")

    def forward(self, x: Tensor) -> Tensor:
        return self.b(torch.relu(self.a(x)))


@registered(CASES, x=IMAGE)
class _Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(4, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)
        self.first, self.second = nn.BatchNorm2d(4), nn.BatchNorm2d(4)
        for norm in (self.first, self.second):
            norm.running_var = torch.rand(4) + 0.5
            norm.running_mean = torch.randn(4)

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(x + self.second(self.b(torch.relu(self.first(self.a(x))))))


@registered(CASES, x=noise(1, 1, 256))
class _Spectrum(nn.Module):
    """A short-time Fourier transform as two convolutions, its magnitude in decibels."""

    def __init__(self) -> None:
        super().__init__()
        angles = 2 * math.pi * torch.arange(17)[:, None] * torch.arange(32)[None] / 32
        window = torch.hann_window(32)
        self.register_buffer("real", (angles.cos() * window)[:, None])
        self.register_buffer("imaginary", (angles.sin() * window)[:, None])

    def forward(self, x: Tensor) -> Tensor:
        real = functional.conv1d(x, self.real, stride=8)
        imaginary = functional.conv1d(x, self.imaginary, stride=8)
        return torch.log(torch.sqrt(real**2 + imaginary**2 + 1e-6) + 1e-3)


@registered(CASES, x=noise(1, 2, 128), free={"x": {2: "time"}, "y": {2: "time"}})
class _ConvDynamic(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Conv1d(2, 8, 5, padding=2), nn.Conv1d(8, 2, 5, padding=2)

    def forward(self, x: Tensor) -> Tensor:
        return self.b(torch.relu(self.a(x)))


class _Resizing(nn.Module):
    """A convolution, a change of size, a convolution; a subclass changes the size."""

    def __init__(self, conv: type[nn.Module] = nn.Conv2d) -> None:
        super().__init__()
        self.a, self.b = conv(4, 8, 3, padding=1), conv(8, 3, 3, padding=1)

    def resized(self, x: Tensor) -> Tensor:
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        return self.b(self.resized(self.a(x)))


@registered(CASES, x=IMAGE)
class _ResizeNearest(_Resizing):
    def resized(self, x: Tensor) -> Tensor:
        return functional.interpolate(x, scale_factor=2, mode="nearest")


@registered(CASES, x=IMAGE)
class _ResizeNearestExact(_Resizing):
    def resized(self, x: Tensor) -> Tensor:
        return functional.interpolate(x, scale_factor=2, mode="nearest-exact")


@registered(CASES, x=IMAGE)
class _ResizeBilinear(_Resizing):
    def resized(self, x: Tensor) -> Tensor:
        return functional.interpolate(x, scale_factor=1.5, mode="bilinear")


@registered(CASES, x=IMAGE)
class _ResizeBilinearCorners(_Resizing):
    def resized(self, x: Tensor) -> Tensor:
        return functional.interpolate(x, size=(24, 20), mode="bilinear", align_corners=True)


@registered(CASES, x=IMAGE)
class _ResizeBicubic(_Resizing):
    def resized(self, x: Tensor) -> Tensor:
        return functional.interpolate(x, scale_factor=2, mode="bicubic")


@registered(CASES, x=IMAGE)
class _ResizeArea(_Resizing):
    def resized(self, x: Tensor) -> Tensor:
        return functional.interpolate(x, size=(8, 8), mode="area")


@registered(CASES, x=noise(1, 4, 32))
class _ResizeLinear(_Resizing):
    def __init__(self) -> None:
        super().__init__(nn.Conv1d)

    def resized(self, x: Tensor) -> Tensor:
        return functional.interpolate(x, scale_factor=2, mode="linear")


@registered(CASES, x=VOLUME)
class _ResizeTrilinear(_Resizing):
    def __init__(self) -> None:
        super().__init__(nn.Conv3d)

    def resized(self, x: Tensor) -> Tensor:
        return functional.interpolate(x, scale_factor=2, mode="trilinear")


@registered(CASES, x=noise(1, 8, 64))
class _BatchNorm(nn.Module):
    """A batch norm before the convolution, which cannot be folded into it, and one after it."""

    def __init__(self) -> None:
        super().__init__()
        self.before, self.conv, self.after = (
            nn.BatchNorm1d(8), nn.Conv1d(8, 8, 3, padding=1), nn.BatchNorm1d(8)
        )  # fmt: skip
        for norm in (self.before, self.after):
            norm.running_var, norm.running_mean = torch.rand(8) + 0.5, torch.randn(8)

    def forward(self, x: Tensor) -> Tensor:
        return self.after(self.conv(self.before(x)))


@registered(CASES, x=noise(1, 8, 64))
class _GroupAndInstanceNorm(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.group, self.instance = nn.GroupNorm(2, 8), nn.InstanceNorm1d(8, affine=True)
        self.conv = nn.Conv1d(8, 8, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.instance(self.conv(functional.gelu(self.group(x))))


@registered(CASES, x=noise(1, 12, 16))
class _LayerAndRmsNorm(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer, self.rms, self.linear = nn.LayerNorm(16), nn.RMSNorm(16), nn.Linear(16, 16)

    def forward(self, x: Tensor) -> Tensor:
        return self.rms(x + self.linear(self.layer(x)))


@registered(CASES, x=IMAGE, outputs=("most", "mean", "adaptive"))
class _Pooling(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(4, 8, 3, padding=1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        hidden = self.conv(x)
        most = functional.max_pool2d(hidden, 3, 2, 1, ceil_mode=True)
        mean = functional.avg_pool2d(hidden, 3, 2, 1, count_include_pad=False)
        return most, mean, functional.adaptive_avg_pool2d(hidden, 4)


@registered(CASES, x=IMAGE)
class _PixelShuffle(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(4, 16, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return functional.pixel_unshuffle(functional.pixel_shuffle(self.conv(x), 4), 2)


@registered(CASES, x=noise(1, 4, 20))
class _PadModes(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv1d(4, 4, 3)

    def forward(self, x: Tensor) -> Tensor:
        for mode in ("reflect", "replicate", "circular", "constant"):
            x = functional.pad(x, (2, 1), mode)
        return self.conv(functional.pad(x, (1, 0), value=0.5))


@registered(CASES, x=lambda r: (1e8 * r.standard_normal((1, 8, 64)) ** 2).astype("float32"))
class _SmallWeights(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Conv1d(8, 8, 3, padding=1), nn.Conv1d(8, 8, 3, padding=1)
        self.a.weight.data /= 1e8

    def forward(self, x: Tensor) -> Tensor:
        return self.b(torch.relu(self.a(x)))


@registered(CASES, x=noise(1, 8, 64, scale=1e-6))
class _LargeWeights(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Conv1d(8, 8, 3, padding=1, bias=False), nn.Conv1d(8, 8, 3, padding=1)
        self.a.weight.data *= 1e6

    def forward(self, x: Tensor) -> Tensor:
        return self.b(torch.relu(self.a(x)))
