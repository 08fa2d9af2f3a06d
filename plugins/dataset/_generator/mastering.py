"""Balance and loudness: one gain curve for all stems, so that they still add up to the mix."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import scipy.ndimage
import scipy.signal

from plugins.dataset._generator.oscillators import Audio

__all__ = ["balance", "limit", "loudness"]

_CEILING = 0.95
_LEVEL = -20.0  # dB; four stems then peak near the ceiling, so the limiter has little to do


def loudness(track: Audio, samplerate: int) -> float:
    """Level in dB of (2, time) where it sounds: a simple stand-in for BS.1770 loudness.

    A first-order high-pass at 70 Hz takes the place of K-weighting, and blocks of 400 ms
    that are more than 20 dB below the loudest do not count.
    """
    sos = scipy.signal.butter(1, 70.0, "highpass", fs=samplerate, output="sos")
    power = np.mean(scipy.signal.sosfilt(sos, track) ** 2, axis=0)
    edges = np.arange(0, len(power), max(1, int(0.4 * samplerate)))
    counts = np.diff(np.append(edges, len(power)))
    blocks = np.add.reduceat(power, edges) / counts
    return float(10.0 * np.log10(np.mean(blocks[blocks >= 0.01 * blocks.max()]) + 1e-12))


def balance(
    rng: np.random.Generator, stems: Mapping[str, Audio], samplerate: int
) -> dict[str, Audio]:
    """Bring every stem to -20 dB, plus or minus 1.5 dB at random."""
    levels = {name: _LEVEL + float(rng.uniform(-1.5, 1.5)) for name in stems}
    return {
        name: track * np.float32(10.0 ** ((levels[name] - loudness(track, samplerate)) / 20.0))
        for name, track in stems.items()
    }


def limit(stems: Mapping[str, Audio], samplerate: int) -> dict[str, Audio]:
    """Soft limiter: the gain that the mix needs, applied to every stem alike.

    The curve bends smoothly below 0.95 and never lets the mix or a stem exceed it: the gain
    is the minimum over a window and then the mean over the same window, so each averaged
    value already respects the sample in the window's middle.
    """
    tracks = np.stack(list(stems.values()))
    peaks = np.maximum(np.abs(tracks.sum(axis=0)).max(axis=0), np.abs(tracks).max(axis=(0, 1)))
    needed = (1.0 + (peaks.astype(np.float64) / _CEILING) ** 6) ** (-1.0 / 6.0)
    window = 2 * int(0.005 * samplerate) + 1
    held = scipy.ndimage.minimum_filter1d(needed, window, mode="nearest")
    gain = scipy.ndimage.uniform_filter1d(held, window, mode="nearest").astype(np.float32)
    return {name: track * gain for name, track in stems.items()}
