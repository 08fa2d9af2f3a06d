"""Waveform to spectrogram and back, framed, padded and cropped as demucs does it.

The formulas are `HTDemucs._spec`, `HTDemucs._ispec` and `demucs.spec` (demucs 4.1.0): a periodic
Hann window of `nfft`, a hop of a quarter of it, the FFT divided by √nfft. The signal is reflected
by 3/2 hop on each side, so that `time` samples give exactly ceil(time / hop) frames; frame k is
centred on sample (k + 1/2) · hop. demucs computes two more frames on each side and drops them, so
the outermost reflection of `torch.stft` never shows and is not computed here.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["envelope", "hann_window", "padding", "paddings", "spectrogram", "waveform"]

#: Frames that are transformed at once: an hour of music then needs little beside its result.
_BLOCK = 256
#: Frames that reach over one sample: nfft / hop.
_OVERLAP = 4


def spectrogram(
    signal: NDArray[np.float32], nfft: int, keep_nyquist: bool = False
) -> NDArray[np.complex64]:
    """Return the spectrum (..., bin, frame) of a signal (..., time).

    There are nfft / 2 bins, one more with `keep_nyquist`, and ceil(time / hop) frames.
    """
    hop = nfft // _OVERLAP
    frames = math.ceil(signal.shape[-1] / hop)
    bins = nfft // 2 + keep_nyquist
    padded = _reflected(signal, hop)
    windows = sliding_window_view(padded, nfft, axis=-1)[..., ::hop, :]
    hann = hann_window(nfft) / np.float32(math.sqrt(nfft))
    spectrum = np.empty((*signal.shape[:-1], bins, frames), np.complex64)
    for first in range(0, frames, _BLOCK):
        block = slice(first, first + _BLOCK)
        bands = np.fft.rfft(windows[..., block, :] * hann, axis=-1)[..., :bins]
        spectrum[..., block] = bands.swapaxes(-1, -2)
    return spectrum


def waveform(
    spectrum: NDArray[np.complex64], nfft: int, length: int, whole_edges: bool = False
) -> NDArray[np.float32]:
    """Return the signal (..., time) of `length` samples of a spectrum (..., bin, frame).

    Bins above those given are taken as zero. demucs fills the two frames that it dropped on each
    side with silence, yet divides by the windows of all: the outer 3/2 hop fade, down to half at
    the first sample. `whole_edges` divides by the windows of the frames that exist instead, which
    makes this the exact inverse of `spectrogram`.
    """
    hop = nfft // _OVERLAP
    frames = spectrum.shape[-1]
    hann = hann_window(nfft)
    rows = np.zeros((*spectrum.shape[:-2], frames + _OVERLAP - 1, hop), np.float32)
    for first in range(0, frames, _BLOCK):
        bands = spectrum[..., first : first + _BLOCK].swapaxes(-1, -2)
        block = np.fft.irfft(bands, nfft, axis=-1) * (hann * np.float32(math.sqrt(nfft)))
        count = block.shape[-2]
        for part in range(_OVERLAP):
            piece = block[..., part * hop : (part + 1) * hop]
            rows[..., first + part : first + part + count, :] += piece
    rows /= envelope(hann, hop, frames, whole_edges)
    start = padding(hop)
    samples: NDArray[np.float32] = rows.reshape(*rows.shape[:-2], -1)[..., start : start + length]
    return samples


def hann_window(nfft: int) -> NDArray[np.float32]:
    """Return the periodic Hann window, as `torch.hann_window` makes it."""
    phase = 2 * np.pi * np.arange(nfft) / nfft
    return (0.5 - 0.5 * np.cos(phase)).astype(np.float32)


def envelope(
    hann: NDArray[np.float32], hop: int, frames: int, whole_edges: bool
) -> NDArray[np.float32]:
    """Return the sum of the squared windows, a row (hop,) per hop or one row for all."""
    parts = np.square(hann).reshape(_OVERLAP, hop)
    rows: NDArray[np.float32]
    if not whole_edges:
        rows = parts.sum(axis=0, keepdims=True)
        return rows
    rows = np.zeros((frames + _OVERLAP - 1, hop), np.float32)
    for part in range(_OVERLAP):
        rows[part : part + frames] += parts[part]
    # The first window starts at zero, far outside of the kept samples: this only avoids 0 / 0.
    np.maximum(rows, np.finfo(np.float32).tiny, out=rows)
    return rows


def padding(hop: int) -> int:
    """Return how many samples are reflected in front of a signal."""
    return hop // 2 * 3


def paddings(length: int, hop: int) -> tuple[tuple[int, int], tuple[int, int]]:
    """Return the (left, right) widths of zeros and then of reflection: `demucs.hdemucs.pad1d`.

    A signal that is shorter than what is reflected gets zeros first, on the right where possible.
    """
    left = padding(hop)
    right = left + math.ceil(length / hop) * hop - length
    missing = max(0, max(left, right) - length + 1)
    zeros_right = min(right, missing)
    zeros_left = missing - zeros_right
    return (zeros_left, zeros_right), (left - zeros_left, right - zeros_right)


def _reflected(signal: NDArray[np.float32], hop: int) -> NDArray[np.float32]:
    """Pad (..., time) by 3/2 hop and up to whole hops."""
    zeros, reflected = paddings(signal.shape[-1], hop)
    widths: Any = [(0, 0)] * (signal.ndim - 1)
    if any(zeros):
        signal = np.pad(signal, [*widths, zeros])
    padded: NDArray[np.float32] = np.pad(signal, [*widths, reflected], mode="reflect")
    return padded
