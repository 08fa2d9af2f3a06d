"""Changes to a song's spectrum: a telephone's band, air, a hall; and noise."""

from __future__ import annotations

import numpy as np
import scipy.fft
import scipy.signal

from plugins.dataset._generator.oscillators import Audio, decay

__all__ = ["bright", "hall", "noise", "telephone"]


def telephone(song: Audio, samplerate: int) -> Audio:
    """Keep 300 to 3,400 Hz of the middle, (2, time)."""
    sos = scipy.signal.butter(8, (300.0, 3_400.0), "bandpass", fs=samplerate, output="sos")
    band = scipy.signal.sosfilt(sos, song.mean(axis=0)).astype(np.float32)
    return np.stack([band, band])


def bright(rng: np.random.Generator, song: Audio, samplerate: int) -> Audio:
    """Raise what lies above 5 kHz by 18 dB, with air above a third of the rate, (2, time)."""
    high = scipy.signal.butter(2, 5_000.0, "highpass", fs=samplerate, output="sos")
    air = scipy.signal.butter(4, samplerate / 3.0, "highpass", fs=samplerate, output="sos")
    top = scipy.signal.sosfilt(high, song)
    hiss = scipy.signal.sosfilt(air, np.abs(top) * rng.standard_normal(song.shape))
    lifted = (song + 7.0 * top + 6.0 * hiss).astype(np.float32)
    loud: Audio = lifted * np.float32(0.98 / (np.abs(lifted).max() + 1e-9))
    return loud


def hall(rng: np.random.Generator, song: Audio, samplerate: int) -> Audio:
    """Play in a large hall: three seconds of echo, as loud as the song, (2, time)."""
    tail = rng.standard_normal((2, int(3.0 * samplerate))) * decay(
        int(3.0 * samplerate), samplerate, 3.0
    )
    tail /= np.sqrt(np.sum(tail**2, axis=-1, keepdims=True))
    echo = scipy.signal.oaconvolve(song, tail, axes=-1)[:, : song.shape[-1]]
    wet: Audio = (0.5 * (song + echo)).astype(np.float32)
    return wet


def noise(rng: np.random.Generator, length: int, samplerate: int) -> Audio:
    """Noise of equal power per octave from 20 Hz, different left and right, (2, time)."""
    hz = scipy.fft.rfftfreq(length, 1.0 / samplerate)
    spectrum = scipy.fft.rfft(rng.standard_normal((2, length)))
    pink = scipy.fft.irfft(spectrum / np.sqrt(np.maximum(hz, 20.0)), length)
    levelled: Audio = (pink * (0.7 / (np.abs(pink).max() + 1e-12))).astype(np.float32)
    return levelled
