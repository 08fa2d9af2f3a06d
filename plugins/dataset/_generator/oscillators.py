"""Building blocks of every instrument: band-limited waves, envelopes, filters, placement."""

from __future__ import annotations

import numpy as np
import scipy.fft
import scipy.signal
from numpy.typing import NDArray

__all__ = [
    "Audio",
    "adsr",
    "decay",
    "filtered_noise",
    "pan",
    "place",
    "reverb",
    "spectrum_filter",
    "wave",
    "wavetable",
]

Audio = NDArray[np.float32]

_TABLE = 4096
_HIGHEST = 15_000.0  # Hz; a partial above it costs time and few people hear it


def wavetable(partials: NDArray[np.float64], hz: float, samplerate: int) -> Audio:
    """One period of a wave, (4096,), of unit power.

    Only the partials that stay below 15 kHz and the Nyquist frequency at pitch `hz` sound,
    so that nothing aliases.
    """
    count = max(1, min(len(partials), int(min(_HIGHEST, 0.45 * samplerate) / hz)))
    spectrum = np.zeros(_TABLE // 2 + 1, dtype=np.complex128)
    # Quadratic (Schroeder) phases keep the crest factor low, so a limiter has little to do.
    order = np.arange(1, count + 1)
    spectrum[1 : count + 1] = partials[:count] * np.exp(-1j * np.pi * order**2 / count)
    table = scipy.fft.irfft(spectrum, _TABLE)
    period: Audio = (table / (np.sqrt(np.mean(table**2)) + 1e-12)).astype(np.float32)
    return period


def wave(table: Audio, hz: float | NDArray[np.float64], length: int, samplerate: int) -> Audio:
    """Play a table at a pitch in hertz: a constant, or one value per sample, (length,)."""
    if isinstance(hz, float):
        phase = np.arange(length) * (hz / samplerate)
    else:
        phase = np.cumsum(hz) / samplerate
    played: Audio = table[(phase * _TABLE).astype(np.int64) & (_TABLE - 1)]
    return played


def adsr(
    length: int, samplerate: int, attack: float, fall: float, sustain: float, release: float
) -> Audio:
    """Envelope, (length,): seconds to rise, fall to `sustain` (0 to 1), and die at the end."""
    time = np.arange(length, dtype=np.float32) / np.float32(samplerate)
    level = sustain + (1.0 - sustain) * np.exp(-np.maximum(time - attack, 0.0) / max(fall, 1e-4))
    rise = np.minimum(time / max(attack, 1e-4), 1.0)
    end = np.clip((length / samplerate - time) / max(release, 1e-4), 0.0, 1.0)
    envelope: Audio = (level * rise * end).astype(np.float32)
    return envelope


def decay(length: int, samplerate: int, seconds: float) -> Audio:
    """Exponential, (length,), that loses 60 dB in `seconds`."""
    time = np.arange(length, dtype=np.float32) / np.float32(samplerate)
    envelope: Audio = np.exp(time * np.float32(-6.908 / seconds)).astype(np.float32)
    return envelope


def filtered_noise(
    rng: np.random.Generator, length: int, samplerate: int, low: float, high: float
) -> Audio:
    """White noise, (length,), of unit power, between `low` and `high` hertz."""
    noise = rng.standard_normal(length, dtype=np.float32)
    top = min(high, 0.49 * samplerate)
    sos = scipy.signal.butter(2, (low, top), "bandpass", fs=samplerate, output="sos")
    band: Audio = scipy.signal.sosfilt(sos, noise).astype(np.float32)
    return band * np.float32(np.sqrt(0.5 * samplerate / (top - low)))


def spectrum_filter(audio: Audio, gains: list[NDArray[np.float64]], fft_length: int) -> list[Audio]:
    """Filter one signal, (time,), by several zero-phase responses, each (fft_length // 2 + 1,)."""
    spectrum = scipy.fft.rfft(audio, fft_length)
    return [
        scipy.fft.irfft(spectrum * gain.astype(np.float32), fft_length)[: len(audio)]
        for gain in gains
    ]


def place(track: Audio, sound: Audio, start: int) -> None:
    """Add a sound, (time,) or (2, time), to a track, (2, time), and cut what hangs over."""
    begin, end = max(start, 0), min(start + sound.shape[-1], track.shape[-1])
    if begin < end:
        track[..., begin:end] += sound[..., begin - start : end - start]


def pan(sound: Audio, position: float) -> Audio:
    """Constant-power pan of (time,) to (2, time); -1 is left, 1 is right."""
    angle = np.pi / 4.0 * (1.0 + position)
    sides = np.array([[np.cos(angle)], [np.sin(angle)]], dtype=np.float32)
    return sides * sound[None]


def reverb(
    rng: np.random.Generator, track: Audio, samplerate: int, seconds: float, wet: float
) -> Audio:
    """Add a room to (2, time): decaying noise, different left and right, as impulse response."""
    length = max(1, int(seconds * samplerate))
    tail = np.stack(
        [filtered_noise(rng, length, samplerate, 250.0, 6_000.0) for _ in range(2)]
    ) * decay(length, samplerate, seconds)
    tail /= np.sqrt(np.sum(tail**2, axis=-1, keepdims=True)) + 1e-9
    echo = scipy.signal.oaconvolve(track, tail, axes=-1)[:, : track.shape[-1]]
    wetted: Audio = (track + np.float32(wet) * echo).astype(np.float32)
    return wetted
