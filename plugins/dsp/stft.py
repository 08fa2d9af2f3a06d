"""The STFT of demucs on the host: waveform to the core's inputs, and the core's outputs back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from core import Array, BundlePart, Dsp, ModelInfo, Signature, Tensors, Transform, hookimpl, outside
from plugins.dsp._spectral.facts import Facts

__all__ = ["Stft"]

#: What demucs adds to a standard deviation before it divides by it.
EPSILON = 1e-5


class Nyquist(Enum):
    """What happens to the highest bin."""

    drop = "drop"
    keep = "keep"


class Edges(Enum):
    """How the inverse treats the first and last 3/2 hop of a window."""

    demucs = "demucs"
    whole = "whole"


@dataclass
class StftOptions:
    """How far the transform follows demucs; a model must have been trained with the same."""

    nyquist: Nyquist = Nyquist.drop
    """`drop` the highest bin as demucs does, or `keep` it for a model that was trained so."""
    edges: Edges = Edges.demucs
    """`demucs` fades the ends of a window as demucs does; `whole` inverts them exactly."""


class Stft(Dsp[StftOptions]):
    """STFT and inverse STFT as demucs computes them, complex numbers as channels."""

    name = "stft"
    Options = StftOptions

    def bind(self, info: ModelInfo) -> Transform:
        """Return the transform for a model that says `nfft`, `hop` and names in `dsp_facts`."""
        facts = Facts.of(info)
        return _BoundStft(
            facts,
            self.options.nyquist is Nyquist.keep,
            self.options.edges is Edges.whole,
            info.signature,
        )

    def ships(self, info: ModelInfo) -> BundlePart:
        """Return the facts that are needed to compute the same without the graphs."""
        facts = Facts.of(info)
        keeps = self.options.nyquist is Nyquist.keep
        normalisation = f"(x - mean) / ({EPSILON} + std), std of n - 1, per window and input"
        return BundlePart(
            {
                "nfft": facts.nfft,
                "hop": facts.hop,
                "window_function": "hann, periodic: 0.5 - 0.5 cos(2 pi n / nfft)",
                "scale": "the FFT is divided by sqrt(nfft), the inverse multiplied by sqrt(nfft)",
                "padding": "by reflection: 3/2 hop on both sides, then up to whole hops",
                "complex": "channels: real and imaginary part of channel 0, then of channel 1",
                "nyquist": "kept" if keeps else "dropped, and zero in the inverse",
                "edges": self.options.edges.name,
                "normalisation": normalisation if facts.normalise else "none",
            }
        )


@dataclass(frozen=True)
class _BoundStft(Transform):
    """The transform of one model; `mag` holds (real, imaginary) of channel 0, then of channel 1."""

    facts: Facts
    keep_nyquist: bool
    whole_edges: bool
    signature: Signature

    def forward(self, window: Tensors) -> tuple[Tensors, Tensors]:
        """Map (channel, time) to `mix` (1, channel, time) and `mag` (1, 2·channel, bin, frame).

        Both are divided by their own standard deviation where the model wants it; the means and
        deviations of the window are what `inverse` needs.
        """
        import numpy as np

        from plugins.dsp._spectral.frames import spectrogram

        mix = np.asarray(window[self.facts.input], np.float32)
        spectrum = spectrogram(mix, self.facts.nfft, self.keep_nyquist)
        channels, bins, frames = spectrum.shape
        mag = np.empty((2 * channels, bins, frames), np.float32)
        mag[0::2], mag[1::2] = spectrum.real, spectrum.imag
        remembered: dict[str, Array] = {}
        if self.facts.normalise:
            mix, remembered["mix_mean"], remembered["mix_std"] = _normalised(mix)
            mag, remembered["mag_mean"], remembered["mag_std"] = _normalised(mag)
        return {self.facts.input: mix[None], self.facts.spec_input: mag[None]}, remembered

    def inverse(self, outputs: Tensors, remembered: Tensors) -> Tensors:
        """Sum both branches to (stem, channel, time).

        `time_out` is (1, stem, channel, time) and keeps the length of the window; `spec_out` is
        (1, stem, 2·channel, bin, frame).
        """
        import numpy as np

        from plugins.dsp._spectral.frames import waveform

        time, spec = outputs[self.facts.time_output][0], outputs[self.facts.spec_output][0]
        if self.facts.normalise:
            time = time * remembered["mix_std"] + remembered["mix_mean"]
            spec = spec * remembered["mag_std"] + remembered["mag_mean"]
        spectrum = np.empty((spec.shape[0], spec.shape[1] // 2, *spec.shape[2:]), np.complex64)
        spectrum.real, spectrum.imag = spec[:, 0::2], spec[:, 1::2]
        length = time.shape[-1]
        stems = waveform(spectrum, self.facts.nfft, length, self.whole_edges)
        return {self.facts.output: np.add(time, stems, dtype=np.float32)}

    def graphs(self, window: Mapping[str, int], folder: Path) -> Mapping[str, Path] | None:
        """Write both directions; None without a window or a number of channels."""
        from plugins.dsp._spectral.forward_graph import write_forward
        from plugins.dsp._spectral.inverse_graph import write_inverse
        from plugins.dsp._spectral.layout import Layout

        facts = self.facts
        (wave,) = (spec for spec in self.signature.inputs if spec.name == facts.input)
        (stems,) = (spec for spec in self.signature.outputs if spec.name == facts.output)
        length, sizes = window.get(wave.axes[-1]), (wave.shape[0], stems.shape[0])
        channels, count = (size if isinstance(size, int) else 0 for size in sizes)
        if not (length and channels and count):
            return None
        layout = Layout(
            nfft=facts.nfft,
            length=length,
            channels=channels,
            stems=count,
            normalise=facts.normalise,
            keep_nyquist=self.keep_nyquist,
            whole_edges=self.whole_edges,
            window=outside(facts.input),
            result=outside(facts.output),
            mix=facts.input,
            mag=facts.spec_input,
            time_out=facts.time_output,
            spec_out=facts.spec_output,
        )
        return {
            "forward": write_forward(folder / "pre.onnx", layout, EPSILON),
            "inverse": write_inverse(folder / "post.onnx", layout),
        }


def _normalised(x: Array) -> tuple[Array, Array, Array]:
    """Return (x - mean) / (1e-5 + std), the mean and the unbiased std, as `HTDemucs.forward`.

    Sums are taken in float64, because over the samples of a song float32 would lose digits.
    """
    import numpy as np

    mean = np.asarray(x.mean(dtype=np.float64), np.float32)
    centred = x - mean
    # A single number has no spread; torch would answer NaN and silence the whole window.
    freedom = max(1, x.size - 1)
    std = np.asarray(np.sqrt(np.sum(np.square(centred), dtype=np.float64) / freedom), np.float32)
    return centred / (np.float32(EPSILON) + std), mean, std


@hookimpl
def luthier_plugins() -> list[type[Stft]]:
    """Return the dsp plugin of this file."""
    return [Stft]
