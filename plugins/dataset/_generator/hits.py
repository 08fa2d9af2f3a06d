"""Drums and clicks that stand alone in silence: the hardest transients that a song can have."""

from __future__ import annotations

import itertools

import numpy as np

from plugins.dataset._generator.drums import make_kit
from plugins.dataset._generator.oscillators import Audio, pan, place

__all__ = ["clicks", "lone_hits"]


def lone_hits(rng: np.random.Generator, length: int, samplerate: int) -> Audio:
    """Kick, snare and crash in turn, each at full scale, (2, time), with silence between."""
    kit = make_kit(rng, samplerate)
    track = np.zeros((2, length), dtype=np.float32)
    start = 0
    for name in itertools.cycle(("kick", "snare", "crash", "kick", "tom", "snare")):
        sound = kit[name].sound
        place(track, sound / np.abs(sound).max(), start)
        start += int(rng.uniform(0.3, 0.6) * samplerate)
        if start >= length:
            break
    return np.clip(track, -1.0, 1.0)


def clicks(rng: np.random.Generator, bed: Audio, samplerate: int) -> Audio:
    """Single samples and bursts of 2 ms at full scale over `bed`, (2, time), some 40 dB below."""
    track = bed * np.float32(0.01 / (np.abs(bed).max() + 1e-9))
    start = int(rng.uniform(0.0, 0.2) * samplerate)
    while start < track.shape[-1]:
        burst = np.ones(1) if rng.random() < 0.5 else rng.uniform(-1.0, 1.0, samplerate // 500)
        place(track, pan(burst.astype(np.float32), float(rng.uniform(-1.0, 1.0))), start)
        start += int(rng.uniform(0.2, 0.6) * samplerate)
    return track
