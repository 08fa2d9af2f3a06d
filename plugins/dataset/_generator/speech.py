"""Speech: low pulses through formants, hisses and bursts, with pauses between the phrases.

The singer of `voice.py` holds notes whose partials are spread in time. A speaker's voice is a row
of sharp pulses, 80 to 220 a second, and half of the time is near silence.
"""

from __future__ import annotations

import numpy as np
import scipy.signal

from plugins.dataset._generator.oscillators import Audio, decay, filtered_noise, place
from plugins.dataset._generator.voice import VOWELS, WIDTHS

__all__ = ["speak"]


def speak(rng: np.random.Generator, length: int, samplerate: int) -> Audio:
    """One speaker in the middle, (2, time), four syllables a second, in a dry room."""
    track = np.zeros((1, length), dtype=np.float32)
    base, tract = float(rng.uniform(90.0, 190.0)), float(rng.uniform(0.85, 1.05))
    start = 0
    while start < length:
        for _ in range(int(rng.integers(2, 7))):
            place(track, _consonant(rng, samplerate)[None], start)
            start += int(0.05 * samplerate)
            vowel = _vowel(rng, base, tract, float(rng.uniform(0.12, 0.28)), samplerate)
            place(track, vowel[None], start)
            start += len(vowel)
        start += int(rng.uniform(0.25, 0.6) * samplerate)
    spoken = track * np.float32(0.9 / (np.abs(track).max() + 1e-9))
    return np.repeat(spoken, 2, axis=0)


def _vowel(
    rng: np.random.Generator, base: float, tract: float, seconds: float, samplerate: int
) -> Audio:
    """Return a vowel, (time,): one pulse per period through resonances in parallel."""
    length = int(seconds * samplerate)
    glide = base * 2.0 ** np.linspace(rng.uniform(-0.1, 0.4), rng.uniform(-0.4, 0.1), length)
    pulses = np.diff(np.floor(np.cumsum(glide) / samplerate), prepend=0.0)
    vowel, level = VOWELS[rng.integers(len(VOWELS))], (1.0, 0.6, 0.3, 0.15)
    sound = np.zeros(length)
    for centre, width, loud in zip(vowel, WIDTHS, level, strict=True):
        # A digital resonator: Klatt 1980, "Software for a cascade/parallel formant synthesizer".
        radius = np.exp(-np.pi * width / samplerate)
        angle = 2.0 * np.pi * centre * tract / samplerate
        poles = (1.0, -2.0 * radius * np.cos(angle), radius**2)
        sound += loud * scipy.signal.lfilter((1.0 - radius,), poles, pulses)
    edge = np.minimum(1.0, np.minimum(np.arange(length), np.arange(length)[::-1]) / 400.0)
    return (sound * edge * rng.uniform(0.6, 1.0)).astype(np.float32)


def _consonant(rng: np.random.Generator, samplerate: int) -> Audio:
    """Return a hiss (s, f) or the burst of a stop (t, k, p), (time,)."""
    length = int(0.06 * samplerate)
    if rng.random() < 0.5:
        hiss = filtered_noise(rng, length, samplerate, 4_000.0, 11_000.0)
        return hiss * np.hanning(length).astype(np.float32) * np.float32(0.004)
    burst = filtered_noise(rng, length, samplerate, 800.0, 6_000.0)
    return burst * decay(length, samplerate, 0.05) * np.float32(0.02)
