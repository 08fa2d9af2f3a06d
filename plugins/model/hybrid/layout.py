"""The core of HTDemucs re-expressed for an NPU: the same weights, every tensor 4-D.

An NPU compiler tiles `(1, channel, height, width)`. demucs folds frequency into the batch for
its residual branches and keeps the waveform 3-D; both cost the compiler minutes and gigabytes
(measured, QNN 2.51: 170 s and 9.3 GB against 10 s and 1.6 GB for a 1 s chunk). Here frequency
is the height and frames are the width of one branch, and time is the *height* of the other,
because a block of the NPU's memory is 8 high but 4 wide. A group norm is a mean and a variance
over axes; layer scales and the cropping of transposed convolutions are folded into neighbours.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

from plugins.model.hybrid.tokens import TokenTransformer

if TYPE_CHECKING:
    from demucs.demucs import DConv
    from demucs.hdemucs import HDecLayer, HEncLayer
    from demucs.htdemucs import HTDemucs

__all__ = ["NpuCore"]

FRAMES_AXIS = 3
"""Where time runs in the frequency branch, `(1, channel, frequency, frame)`."""
SAMPLES_AXIS = 2
"""Where time runs in the time branch, `(1, channel, time, 1)`."""


def _along(size: int, axis: int, other: int) -> tuple[int, int]:
    """Return `(height, width)` with `size` on `axis` and `other` on the remaining one."""
    return (size, other) if axis == SAMPLES_AXIS else (other, size)


def _conv(source: nn.Module, axis: int) -> nn.Conv2d:
    """Return the 2-D form of a 1-D convolution along `axis` (a 2-D one is returned as it is)."""
    if isinstance(source, nn.Conv2d):
        return source
    if not isinstance(source, nn.Conv1d):
        msg = f"the NPU form knows convolutions, not `{type(source).__name__}`"
        raise TypeError(msg)
    conv = nn.Conv2d(
        source.in_channels,
        source.out_channels,
        _along(source.kernel_size[0], axis, 1),
        _along(source.stride[0], axis, 1),
        _along(int(source.padding[0]), axis, 0),
        _along(source.dilation[0], axis, 1),
    )
    conv.weight = nn.Parameter(source.weight.detach().unsqueeze(-1 if axis == SAMPLES_AXIS else -2))
    conv.bias = source.bias
    return conv


class TimeNorm(nn.Module):
    """Group norm with one group, over channels and time of `(1, channel, time, 1)`.

    Mean and variance are single numbers, which quantise well; a layer norm over all samples
    would need a gain for each of them.
    """

    def __init__(self, norm: nn.GroupNorm) -> None:
        """Copy `norm`, which has one group."""
        super().__init__()
        self.eps = norm.eps
        self.weight = nn.Parameter(norm.weight.detach().view(1, -1, 1, 1))
        self.bias = nn.Parameter(norm.bias.detach().view(1, -1, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Normalise `(1, channel, time, 1)`."""
        centred = x - x.mean(dim=(1, 2), keepdim=True)
        variance = (centred * centred).mean(dim=(1, 2), keepdim=True)
        # Gain and deviation meet while they are small: one pass over the large tensor less.
        return centred * (self.weight / torch.sqrt(variance + self.eps)) + self.bias


class FrequencyNorm(nn.Module):
    """Group norm with one group for every frequency alone, as one layer norm.

    Music is 60 dB weaker at the top of the spectrum than at the bottom. A tensor of the rows'
    variances, quantised with one scale for all, would lose the weak rows (26 dB in 16 bits and
    nothing at all in 8); a layer norm keeps its statistics in the NPU's accumulators (47 dB).
    """

    def __init__(self, norm: nn.GroupNorm, frames: int) -> None:
        """Copy `norm`, which has one group, for chunks of `frames` frames."""
        super().__init__()
        self.eps = norm.eps
        self.weight = nn.Parameter(norm.weight.detach().repeat(frames))
        self.bias = nn.Parameter(norm.bias.detach().repeat(frames))

    def forward(self, x: Tensor) -> Tensor:
        """Normalise `(1, channel, frequency, frame)` over channels and frames."""
        _, channels, rows, frames = x.shape
        # Channels last is how the NPU keeps the tensor, so there this moves nothing.
        flat = x.permute(0, 2, 3, 1).reshape(rows, frames * channels)
        flat = functional.layer_norm(flat, self.weight.shape, self.weight, self.bias, self.eps)
        return flat.reshape(1, rows, frames, channels).permute(0, 3, 1, 2)


class Residual(nn.Module):
    """demucs's `DConv`: dilated residual convolutions along time, without folding frequency."""

    def __init__(self, source: DConv, axis: int, frames: int) -> None:
        """Share the weights of `source`, whose layers must hold neither LSTM nor attention."""
        super().__init__()
        self.layers = nn.ModuleList()
        self.scales = nn.ParameterList()
        for layer in source.layers:
            squeeze, norm1, activation, expand, norm2, gate, scale = layer
            steps = [
                *(_conv(squeeze, axis), _norm(norm1, axis, frames), activation),
                *(_conv(expand, axis), _norm(norm2, axis, frames), gate),
            ]
            self.layers.append(nn.Sequential(*steps))
            # Not folded into norm2: its 8-bit gains would then span the scale and the gate.
            self.scales.append(nn.Parameter(scale.scale.detach().view(1, -1, 1, 1)))

    def forward(self, x: Tensor) -> Tensor:
        """Add each layer's output to `(1, channel, height, width)`."""
        for layer, scale in zip(self.layers, self.scales, strict=True):
            x = x + scale * layer(x)
        return x


def _norm(norm: nn.Module, axis: int, frames: int) -> nn.Module:
    """Return the form of a residual's norm for the branch whose time runs along `axis`."""
    return TimeNorm(norm) if axis == SAMPLES_AXIS else FrequencyNorm(norm, frames)


def _refuse(layer: nn.Module) -> None:
    """Raise `ValueError` for the layers of the family that have no NPU form."""
    if type(layer).__name__ == "MultiWrap" or layer.norm or layer.empty or not layer.pad:
        msg = (
            "model `HTDemucs` has layers that have no NPU form: frequency bands (`multi_freqs`),"
            " norms outside the residuals (`norm_starts` below `depth`) or merged branches"
            " (`depth` above 4)\n  possible: the plain core, `plugins.model.hybrid.split`"
        )
        raise ValueError(msg)


class Encoder(nn.Module):
    """One encoder of either branch: strided convolution, GELU, residual, gated 1x1 rewrite."""

    def __init__(self, source: HEncLayer, axis: int, frames: int) -> None:
        """Share the weights of `source` for time along `axis`."""
        super().__init__()
        _refuse(source)
        self.conv = _conv(source.conv, axis)
        # demucs pads the waveform to whole strides; the spectrogram's bins always are.
        self.stride = 1 if source.freq else source.stride
        self.dconv = Residual(source.dconv, axis, frames) if source.dconv else nn.Identity()
        self.rewrite = _gate(source.rewrite, axis)

    def forward(self, x: Tensor) -> Tensor:
        """Map `(1, channel, height, width)` to `(1, channel', height / stride, width)`."""
        missing = -x.shape[2] % self.stride
        if missing:
            x = functional.pad(x, (0, 0, 0, missing))
        return self.rewrite(self.dconv(functional.gelu(self.conv(x))))


class Decoder(nn.Module):
    """One decoder of either branch: skip, gated rewrite, residual, transposed convolution."""

    def __init__(self, source: HDecLayer, axis: int, frames: int) -> None:
        """Share the weights of `source` for time along `axis`."""
        super().__init__()
        _refuse(source)
        self.rewrite = _gate(source.rewrite, axis)
        self.dconv = Residual(source.dconv, axis, frames) if source.dconv else nn.Identity()
        self.last = source.last
        old = source.conv_tr
        stride, kernel = (source.stride, 1), (source.kernel_size, 1)
        # `padding` crops what demucs cuts off afterwards: no slice of the largest tensors.
        self.conv_tr = nn.ConvTranspose2d(
            old.in_channels, old.out_channels, kernel, stride, (source.pad, 0)
        )
        shape = (old.in_channels, old.out_channels, *kernel)
        self.conv_tr.weight = nn.Parameter(old.weight.detach().reshape(shape))
        self.conv_tr.bias = old.bias

    def forward(self, x: Tensor, skip: Tensor, height: int) -> Tensor:
        """Map `(1, channel, h, width)` to `(1, channel', height, width)`, `height <= h * stride`."""
        x = self.conv_tr(self.dconv(self.rewrite(x + skip)))
        if x.shape[2] != height:
            x = x[:, :, :height]
        return x if self.last else functional.gelu(x)


def _gate(rewrite: nn.Module | None, axis: int) -> nn.Module:
    """Return the gated convolution `rewrite`, or nothing where the model has none."""
    return nn.Identity() if rewrite is None else nn.Sequential(_conv(rewrite, axis), nn.GLU(1))


class NpuCore(nn.Module):
    """`HybridCore` for chunks of exactly `length` samples, same inputs and outputs, all 4-D."""

    def __init__(self, model: HTDemucs, length: int) -> None:
        """Share or copy the weights of `model`; raises `ValueError` where it has no such form."""
        super().__init__()
        self.stems = len(model.sources)
        frames = math.ceil(length / model.hop_length)
        self.encoder = nn.ModuleList(Encoder(e, FRAMES_AXIS, frames) for e in model.encoder)
        self.tencoder = nn.ModuleList(Encoder(e, SAMPLES_AXIS, frames) for e in model.tencoder)
        self.decoder = nn.ModuleList(Decoder(d, FRAMES_AXIS, frames) for d in model.decoder)
        self.tdecoder = nn.ModuleList(Decoder(d, SAMPLES_AXIS, frames) for d in model.tdecoder)
        embedding = torch.zeros(1)
        if model.freq_emb is not None:
            embedding = model.freq_emb_scale * model.freq_emb.weight.detach().t()[None, :, :, None]
        self.register_buffer("frequency", embedding)
        ends = [nn.Identity()] * 4
        if model.bottom_channels:
            names = ("upsampler", "upsampler_t", "downsampler", "downsampler_t")
            convs = [getattr(model, f"channel_{name}") for name in names]
            ends = [_conv(conv, SAMPLES_AXIS) for conv in convs]
        self.up, self.up_t, self.down, self.down_t = ends
        self.transformer = None
        if model.crosstransformer is not None:
            strides = [layer.stride for layer in model.tencoder]
            steps = length
            for stride in strides:
                steps = math.ceil(steps / stride)
            channels = model.bottom_channels or model.decoder[0].conv_tr.in_channels
            rows = model.nfft // 2 // math.prod(strides)
            self.transformer = TokenTransformer(
                model.crosstransformer, channels, rows, frames, steps
            )

    def forward(self, mix: Tensor, mag: Tensor) -> tuple[Tensor, Tensor]:
        """Map normalised `mix` and `mag` to normalised `time_out` and `spec_out`."""
        x, xt = mag, mix.unsqueeze(-1)
        skips: list[tuple[Tensor, Tensor]] = []
        heights: list[tuple[int, int]] = []
        for index, (encode, encode_t) in enumerate(zip(self.encoder, self.tencoder, strict=True)):
            heights.append((x.shape[2], xt.shape[2]))
            x, xt = encode(x), encode_t(xt)
            if index == 0:
                x = x + self.frequency
            skips.append((x, xt))
        if self.transformer is not None:
            x, xt = self.transformer(self.up(x), self.up_t(xt))
            x, xt = self.down(x), self.down_t(xt)
        for decode, decode_t in zip(self.decoder, self.tdecoder, strict=True):
            (skip, skip_t), (height, height_t) = skips.pop(), heights.pop()
            x, xt = decode(x, skip, height), decode_t(xt, skip_t, height_t)
        time_out = xt.reshape(1, self.stems, -1, xt.shape[2])
        return time_out, x.reshape(1, self.stems, -1, *x.shape[2:])
