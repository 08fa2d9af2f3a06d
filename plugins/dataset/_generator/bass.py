"""The bass: one note at a time, in the middle, darker as each note rings."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from plugins.dataset._generator.oscillators import Audio, adsr, decay, place, wave, wavetable
from plugins.dataset._generator.score import Score, hertz

__all__ = ["play_bass"]

# (first sixteenth, length in sixteenths, interval: 0 root, 1 octave, 2 fifth)
_LINES = (
    ((0, 4, 0), (4, 4, 0), (8, 4, 0), (12, 4, 2)),
    ((0, 6, 0), (6, 4, 0), (10, 2, 2), (12, 4, 1)),
    ((0, 2, 0), (2, 2, 0), (4, 2, 1), (6, 2, 0), (8, 2, 0), (10, 2, 0), (12, 2, 1), (14, 2, 2)),
    ((0, 8, 0), (8, 8, 0)),
    ((0, 3, 0), (3, 3, 0), (6, 2, 1), (8, 3, 0), (11, 3, 0), (14, 2, 2)),
    ((0, 12, 0), (12, 4, 2)),
)
_INTERVALS = (0, 12, 7)


def _partials(rng: np.random.Generator) -> NDArray[np.float64]:
    """Amplitudes of a bass guitar's, a triangle's or a soft saw's first 12 partials."""
    order = np.arange(1.0, 13.0)
    kind = rng.integers(3)
    if kind == 0:
        return order**-0.6 * np.abs(np.sin(order * np.pi * rng.uniform(0.2, 0.35)) + 0.3)
    if kind == 1:
        return order**-1.1 * np.where(order % 2 == 1, 1.0, 0.4)
    return order ** -rng.uniform(0.8, 1.1)


def play_bass(rng: np.random.Generator, score: Score) -> Audio:
    """Bass of a whole song, (2, time): the same signal left and right, 41 to 180 Hz."""
    rate = score.samplerate
    track = np.zeros((1, score.length), dtype=np.float32)
    bright = _partials(rng)
    dark = bright * np.arange(1.0, len(bright) + 1.0) ** -0.8
    lines = [_LINES[i] for i in rng.choice(len(_LINES), 2, replace=False)]
    ring, hold = float(rng.uniform(0.3, 0.9)), float(rng.uniform(0.45, 0.9))
    stop = float(rng.uniform(0.8, 0.97))
    for bar in range(len(score.degrees)):
        root = score.chord(bar, 1)[0]
        # The lowest string of a bass is E1 (MIDI 28): fold every root just above it.
        root = 28 + (root - 28) % 12
        for step, steps, interval in lines[bar // 8 % 2]:
            hz = hertz(root + _INTERVALS[interval])
            begin = score.start(bar, step)
            length = max(1, int((score.start(bar, step + steps) - begin) * stop))
            pluck = decay(length, rate, ring)
            tone = wave(wavetable(bright, hz, rate), hz, length, rate) * pluck
            tone += wave(wavetable(dark, hz, rate), hz, length, rate) * (np.float32(1.0) - pluck)
            tone *= adsr(length, rate, 0.006, ring, hold, 0.03)
            place(track, tone * np.float32(rng.uniform(0.85, 1.0)), begin)
    return np.repeat(track, 2, axis=0)
