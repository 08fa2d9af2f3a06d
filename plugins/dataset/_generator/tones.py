"""Few partials in a whole spectrum: whistled tones, and a bass below what instruments play."""

from __future__ import annotations

import numpy as np

from plugins.dataset._generator.oscillators import Audio, adsr, decay, pan, place

__all__ = ["sub_bass", "whistles"]


def whistles(rng: np.random.Generator, length: int, samplerate: int) -> Audio:
    """Sine tones of 400 to 3,000 Hz, one or two at a time, (2, time)."""
    track = np.zeros((2, length), dtype=np.float32)
    start = 0
    while start < length:
        hold = int(rng.uniform(0.2, 0.9) * samplerate)
        hz = 400.0 * 2.0 ** rng.uniform(0.0, 2.9)
        tone = np.sin(2.0 * np.pi * hz * np.arange(hold) / samplerate)
        tone *= adsr(hold, samplerate, 0.02, 1.0, 0.8, 0.05)
        place(track, pan(0.6 * tone.astype(np.float32), rng.uniform(-0.5, 0.5)), start)
        start += int(rng.uniform(0.5, 1.0) * hold)
    return track


def sub_bass(rng: np.random.Generator, length: int, samplerate: int) -> Audio:
    """Long drops from 90 to 30 Hz, driven hard, with a click at their start, (2, time)."""
    track = np.zeros((2, length), dtype=np.float32)
    start = 0
    while start < length:
        hold = int(rng.uniform(0.5, 1.2) * samplerate)
        time = np.arange(hold) / samplerate
        low, high = rng.uniform(28.0, 40.0), rng.uniform(60.0, 120.0)
        phase = low * time - high / 8.0 * np.exp(-8.0 * time)
        drop = np.tanh(3.0 * np.sin(2.0 * np.pi * phase) * decay(hold, samplerate, 2.0))
        place(track, pan(0.95 * drop.astype(np.float32), 0.0), start)
        start += hold
    # A mono sound in the middle has 3 dB less on either side.
    drops: Audio = np.clip(track * np.float32(np.sqrt(2.0)), -1.0, 1.0)
    return drops
