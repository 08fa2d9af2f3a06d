"""HTDemucs cut in three: `pre` (STFT), a core that can be exported, `post` (iSTFT).

The layers are demucs's own, called in the order of `HTDemucs.forward` (demucs 4.1.0,
`demucs/htdemucs.py`); only what surrounds them moves. The cut lies *inside* demucs's
normalisation: `pre` divides by the standard deviation of the chunk and `post` multiplies it
back, both in float on the host, so that the core sees inputs of unit variance. An 8-bit core
could represent neither the statistics of a quiet chunk nor the product with them.
"""

# ruff: noqa: SLF001  # demucs keeps its STFT in private methods; only they pad just as it does

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from demucs.htdemucs import HTDemucs

__all__ = ["ChunkScale", "HybridCore", "core_shapes", "output_shapes", "post", "pre"]


@dataclass(frozen=True)
class ChunkScale:
    """Statistics of one chunk, which `post` needs to undo the normalisation of `pre`."""

    mix_mean: Tensor
    """Mean of the waveform, `(batch, 1, 1)`."""
    mix_std: Tensor
    """Standard deviation of the waveform, `(batch, 1, 1)`."""
    mag_mean: Tensor
    """Mean of the spectrogram, `(batch, 1, 1, 1)`."""
    mag_std: Tensor
    """Standard deviation of the spectrogram, `(batch, 1, 1, 1)`."""
    length: int
    """Samples in the chunk: the spectrogram knows only whole hops."""


def pre(model: HTDemucs, mix: Tensor) -> tuple[Tensor, Tensor, ChunkScale]:
    """Turn a waveform `(batch, channel, time)` into the normalised inputs of the core.

    Returns `mix (batch, channel, time)`, `mag (batch, 2 * channel, nfft / 2, ceil(time / hop))`
    with real and imaginary parts as channels, and the scale for `post`. The Nyquist bin is
    dropped and 3/2 hop is padded by reflection, as in demucs.
    """
    network: Any = model  # demucs's methods have no types
    mag = network._magnitude(network._spec(mix))
    mag_mean = mag.mean(dim=(1, 2, 3), keepdim=True)
    mag_std = mag.std(dim=(1, 2, 3), keepdim=True)
    mix_mean = mix.mean(dim=(1, 2), keepdim=True)
    mix_std = mix.std(dim=(1, 2), keepdim=True)
    scale = ChunkScale(mix_mean, mix_std, mag_mean, mag_std, mix.shape[-1])
    return (mix - mix_mean) / (1e-5 + mix_std), (mag - mag_mean) / (1e-5 + mag_std), scale


def post(model: HTDemucs, time_out: Tensor, spec_out: Tensor, scale: ChunkScale) -> Tensor:
    """Undo the normalisation and sum both branches to stems `(batch, stem, channel, time)`.

    `time_out` and `spec_out` are what the core returned for the inputs `scale` came with.
    """
    network: Any = model
    spectrum = spec_out * scale.mag_std[:, None] + scale.mag_mean[:, None]
    # With complex-as-channels the mask *is* the spectrogram, so the mixture is not needed.
    from_spectrum = network._ispec(network._mask(None, spectrum), scale.length)
    from_waveform = time_out * scale.mix_std[:, None] + scale.mix_mean[:, None]
    return cast("Tensor", from_waveform + from_spectrum)


def core_shapes(model: HTDemucs, length: int) -> dict[str, tuple[int, ...]]:
    """Return the shapes of the core's inputs by name, for a chunk of `length` samples."""
    frames = math.ceil(length / model.hop_length)
    channels = model.audio_channels
    return {"mix": (1, channels, length), "mag": (1, 2 * channels, model.nfft // 2, frames)}


def output_shapes(model: HTDemucs, length: int) -> dict[str, tuple[int, ...]]:
    """Return the shapes of the core's outputs by name, for a chunk of `length` samples."""
    inputs = core_shapes(model, length)
    stems = len(model.sources)
    return {
        "time_out": (1, stems, *inputs["mix"][1:]),
        "spec_out": (1, stems, *inputs["mag"][1:]),
    }


class HybridCore(nn.Module):
    """Everything of HTDemucs between the STFT and the iSTFT, with demucs's own layers.

    A chunk keeps its length (`use_train_segment=False`): it is not padded to the training
    segment. `forward` takes what `pre` returns and gives `time_out (batch, stem, channel, time)`
    and `spec_out (batch, stem, 2 * channel, nfft / 2, frames)`, both still normalised.
    """

    def __init__(self, model: HTDemucs) -> None:
        """Wrap `model`, whose weights are shared; raises `ValueError` without `cac`."""
        super().__init__()
        if not model.cac:
            raise ValueError(
                "model `HTDemucs` masks a magnitude (`cac=False`), so its core has no spectrogram"
                " output\n  possible: a checkpoint trained with complex-as-channels (`cac=True`)"
            )
        self.model = model

    def forward(self, mix: Tensor, mag: Tensor) -> tuple[Tensor, Tensor]:
        """Map normalised `mix` and `mag` to normalised `time_out` and `spec_out`."""
        model: Any = self.model
        x, xt = mag, mix
        skips, skips_t, lengths, lengths_t = [], [], [], []
        for index, encode in enumerate(model.encoder):
            lengths.append(x.shape[-1])
            inject = None
            if index < len(model.tencoder):
                lengths_t.append(xt.shape[-1])
                encode_t = model.tencoder[index]
                xt = encode_t(xt)
                if encode_t.empty:
                    inject = xt  # from here on both branches have one shape and are one
                else:
                    skips_t.append(xt)
            x = encode(x, inject)
            if index == 0 and model.freq_emb is not None:
                rows = torch.arange(x.shape[-2], device=x.device)
                x = x + model.freq_emb_scale * model.freq_emb(rows).t()[None, :, :, None]
            skips.append(x)
        x, xt = self._transform(x, xt)
        for index, decode in enumerate(model.decoder):
            x, merged = decode(x, skips.pop(), lengths.pop())
            index_t = index - (model.depth - len(model.tdecoder))
            if index_t < 0:
                continue
            decode_t = model.tdecoder[index_t]
            if decode_t.empty:
                xt, _ = decode_t(merged[:, :, 0], None, lengths_t.pop())
            else:
                xt, _ = decode_t(xt, skips_t.pop(), lengths_t.pop())
        stems = len(model.sources)
        batch, _, bins, frames = mag.shape
        time_out = xt.reshape(batch, stems, -1, mix.shape[-1])
        return time_out, x.reshape(batch, stems, -1, bins, frames)

    def _transform(self, x: Tensor, xt: Tensor) -> tuple[Tensor, Tensor]:
        """Run the cross-domain transformer over `(b, c, f, t)` and `(b, c, t)`."""
        model: Any = self.model
        if model.crosstransformer is None:
            return x, xt
        rows = x.shape[2]
        if model.bottom_channels:
            x = model.channel_upsampler(x.flatten(2)).unflatten(2, (rows, -1))
            xt = model.channel_upsampler_t(xt)
        x, xt = model.crosstransformer(x, xt)
        if model.bottom_channels:
            x = model.channel_downsampler(x.flatten(2)).unflatten(2, (rows, -1))
            xt = model.channel_downsampler_t(xt)
        return x, xt
