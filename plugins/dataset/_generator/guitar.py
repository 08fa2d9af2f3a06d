"""Distorted power chords, chugged and held, doubled left and right."""

from __future__ import annotations

import numpy as np
import scipy.signal

from plugins.dataset._generator.oscillators import Audio, decay, place, wave, wavetable
from plugins.dataset._generator.score import hertz

__all__ = ["distorted_guitars"]


def distorted_guitars(rng: np.random.Generator, length: int, samplerate: int) -> Audio:
    """Two guitars through hard distortion and a speaker that ends at 6 kHz, (2, time)."""
    step = int(rng.uniform(0.10, 0.14) * samplerate)
    table = wavetable(np.arange(1.0, 41.0) ** -0.8, 330.0, samplerate)
    riff = [(int(rng.integers(0, 8)), bool(rng.random() < 0.3)) for _ in range(16)]
    sides = np.zeros((2, length), dtype=np.float32)
    for side in sides:
        detuned = float(rng.uniform(-0.06, 0.06))
        for index, start in enumerate(range(0, length, step)):
            fret, held = riff[index % len(riff)]
            hold = step * (4 if held else 1)
            root = 40 + fret + detuned
            strings = [wave(table, hertz(root + up), hold, samplerate) for up in (0.0, 7.0, 12.0)]
            stroke = sum(strings) * decay(hold, samplerate, 3.0 if held else 0.15)
            place(side[None], stroke[None].astype(np.float32), start)
    sos = scipy.signal.butter(2, (90.0, 6_000.0), "bandpass", fs=samplerate, output="sos")
    played = scipy.signal.sosfilt(sos, np.tanh(4.0 * sides), axis=-1)
    guitars: Audio = (played * (0.98 / (np.abs(played).max() + 1e-9))).astype(np.float32)
    return guitars
