"""The core of HTDemucs re-expressed for an NPU: the same weights, every tensor 4-D.

An NPU compiler tiles `(1, channel, height, width)`. demucs folds frequency into the batch for
its residual branches and keeps the waveform 3-D; both cost the compiler minutes and gigabytes
(full size, 1 s chunk, QNN 2.51, two cores: 493 s against 13 s; `docs/qualcomm.md`). Layer scales of
the transformer, the scale of its attention and the cropping of transposed convolutions are folded
away.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from plugins.model._hybrid.columns import columns_for, fold, unfold
from plugins.model._hybrid.layers import Decoder, Encoder, conv_2d
from plugins.model._hybrid.tokens import TokenTransformer

if TYPE_CHECKING:
    from demucs.htdemucs import HTDemucs

__all__ = ["NpuCore"]


class NpuCore(nn.Module):
    """`HybridCore` for chunks of exactly `length` samples, with the same inputs and outputs."""

    frequency: Tensor

    def __init__(self, model: HTDemucs, length: int) -> None:
        """Share or copy the weights of `model`; raises `ValueError` where it has no such form."""
        super().__init__()
        self.stems, self.bins, self.length = len(model.sources), model.nfft // 2, length
        self.frames = math.ceil(length / model.hop_length)
        # Heights of both branches at every level: whole strides, the last one padded.
        encoders: Any = model.tencoder
        strides = [encoder.stride for encoder in encoders]
        rows, steps = [self.bins], [length]
        for stride in strides:
            rows.append(rows[-1] // stride)
            steps.append(math.ceil(steps[-1] / stride))

        self.columns = columns_for(length, strides)
        steps = [step // self.columns for step in steps]

        self.encoder = _layers(Encoder, model.encoder, rows, self.frames)
        self.tencoder = _layers(Encoder, model.tencoder, steps, self.columns)
        self.decoder = _layers(Decoder, model.decoder, rows[-2::-1], self.frames)
        self.tdecoder = _layers(Decoder, model.tdecoder, steps[-2::-1], self.columns)

        embedding = torch.zeros(1, 1, 1, 1)
        if model.freq_emb is not None:
            embedding = model.freq_emb_scale * model.freq_emb.weight.detach().t()[None, :, :, None]
        self.register_buffer("frequency", embedding)
        ends: list[nn.Module] = [nn.Identity()] * 4
        if model.bottom_channels:
            names = ("upsampler", "upsampler_t", "downsampler", "downsampler_t")
            ends = [conv_2d(getattr(model, f"channel_{name}"), upright=True) for name in names]
        self.up, self.up_t, self.down, self.down_t = ends
        self.transformer = None
        if model.crosstransformer is not None:
            plane = (rows[-1], self.frames)
            folded = (steps[-1], self.columns)
            self.transformer = TokenTransformer(model.crosstransformer, plane, folded)

    def forward(self, mix: Tensor, mag: Tensor) -> tuple[Tensor, Tensor]:
        """Map normalised `mix` and `mag` to normalised `time_out` and `spec_out`."""
        x, xt = mag, fold(mix, self.columns)
        skips: list[tuple[Tensor, Tensor]] = []
        for index, (encode, encode_t) in enumerate(zip(self.encoder, self.tencoder, strict=True)):
            x, xt = encode(x), encode_t(xt)
            if index == 0:
                x = x + self.frequency
            skips.append((x, xt))
        if self.transformer is not None:
            x, xt = self.transformer(self.up(x), self.up_t(xt))
            x, xt = self.down(x), self.down_t(xt)
        for decode, decode_t in zip(self.decoder, self.tdecoder, strict=True):
            skip, skip_t = skips.pop()
            x, xt = decode(x, skip), decode_t(xt, skip_t)
        time_out = unfold(xt).reshape(1, self.stems, -1, self.length)
        return time_out, x.reshape(1, self.stems, -1, self.bins, self.frames)


def _layers(
    form: type[Encoder | Decoder], sources: Any, heights: list[int], width: int
) -> nn.ModuleList:
    """Return `sources` in the given `form`, each for its height."""
    pairs = zip(sources, heights, strict=False)
    return nn.ModuleList(form(s, height=height, width=width) for s, height in pairs)
