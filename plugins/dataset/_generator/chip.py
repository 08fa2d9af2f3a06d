"""Music of home computers: naive pulse waves that alias, noise, and samples at many speeds."""

from __future__ import annotations

import numpy as np

from plugins.dataset._generator.oscillators import Audio, place
from plugins.dataset._generator.score import hertz

__all__ = ["pulse_waves", "tracker"]


def pulse_waves(rng: np.random.Generator, length: int, samplerate: int) -> Audio:
    """A bass, a fast arpeggio and a noise drum with edges of one sample, (2, time)."""
    track = np.zeros((2, length), dtype=np.float32)
    step = int(rng.uniform(0.10, 0.14) * samplerate)
    root, chord = int(rng.integers(45, 57)), (0, 3, 7, 12)
    time = np.arange(step) / samplerate
    for index, start in enumerate(range(0, length, step)):
        width = 0.125 * (1 + index // 16 % 4)
        high = hertz(root + 12 + chord[index % 4])
        lead = np.where(high * time % 1.0 < width, 0.35, -0.35)
        low = np.where(hertz(root - 12 - 5 * (index // 32 % 2)) * time % 1.0 < 0.5, 0.3, -0.3)
        held = np.repeat(rng.uniform(-0.5, 0.5, -(-step // 8)), 8)[:step]
        drum = held * (index % 4 == 2) * np.linspace(1.0, 0.0, step)
        left, right = 0.8 * lead + low + drum, 0.4 * lead + low + drum
        place(track, np.stack([left, right]).astype(np.float32), start)
    return np.clip(track, -1.0, 1.0)


def tracker(rng: np.random.Generator, sounds: Audio, samplerate: int) -> Audio:
    """Cut notes of 0.25 s out of `sounds`, (2, time), in 8 bits, and play them at many speeds.

    Speeds are reached by repeating samples, as the players of the time did: that aliases.
    """
    length, note = sounds.shape[-1], samplerate // 4
    source = np.round(sounds.mean(axis=0) * 127.0 / (np.abs(sounds).max() + 1e-9)) / 127.0
    track = np.zeros((2, length), dtype=np.float32)
    starts = rng.integers(0, max(1, length - note), 6)
    for index, start in enumerate(range(0, length, samplerate // 8)):
        speed = 2.0 ** (float(rng.integers(-12, 13)) / 12.0)
        begin = int(starts[rng.integers(len(starts))])
        at = begin + (np.arange(note) * speed).astype(np.int64)
        played = source[np.minimum(at, length - 1)] * np.linspace(1.0, 0.3, note)
        # Channels of an Amiga are panned hard: left, right, right, left.
        place(track[index % 4 in {1, 2} :][:1], played[None].astype(np.float32), start)
    return track * np.float32(0.95 / (np.abs(track).max() + 1e-9))
