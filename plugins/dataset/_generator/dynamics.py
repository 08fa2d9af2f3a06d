"""Changes to a song's loudness: fades, steps, gaps, dense mastering, clipping, 16 bits."""

from __future__ import annotations

import numpy as np

from plugins.dataset._generator.oscillators import Audio

__all__ = ["clipped", "dense", "fades", "gaps", "near_silence", "steps"]


def fades(song: Audio, samplerate: int) -> Audio:
    """Fade in by 60 dB and out again, every 2.4 s, (2, time)."""
    phase = np.abs((np.arange(song.shape[-1]) / (1.2 * samplerate)) % 2.0 - 1.0)
    return (song * 10.0 ** (-3.0 * phase)).astype(np.float32)


def steps(rng: np.random.Generator, song: Audio, samplerate: int) -> Audio:
    """Jump between loud (0 to 12 dB down) and soft (30 to 50 dB) every 0.35 s, (2, time)."""
    hold = int(0.35 * samplerate)
    count = -(-song.shape[-1] // hold)
    levels = np.where(
        np.arange(count) % 2 == 0, rng.uniform(-50.0, -30.0, count), rng.uniform(-12.0, 0.0, count)
    )
    gain = np.repeat(10.0 ** (levels / 20.0), hold)[: song.shape[-1]]
    stepped: Audio = (song * gain).astype(np.float32)
    return stepped


def gaps(song: Audio, samplerate: int) -> Audio:
    """Digital silence for the last 0.5 of every 0.8 s, cut without a fade, (2, time)."""
    on = (np.arange(song.shape[-1]) / samplerate) % 0.8 < 0.3
    return (song * on).astype(np.float32)


def dense(song: Audio) -> Audio:
    """Master as loud as records are: driven into a soft limit, peaks at full scale, (2, time)."""
    level = np.sqrt(np.mean(song**2)) + 1e-9
    mastered: Audio = np.tanh(song * np.float32(0.6 / level)).astype(np.float32)
    return mastered


def clipped(song: Audio) -> Audio:
    """Cut off hard at full scale, 12 dB too loud, (2, time)."""
    cut: Audio = np.clip(song * np.float32(4.0), -1.0, 1.0)
    return cut


def near_silence(song: Audio) -> Audio:
    """Lower to peaks of -66 dB and round to 16 bits: a handful of steps are left, (2, time)."""
    quiet = song * (0.0005 / (np.abs(song).max() + 1e-9))
    rounded: Audio = (np.round(quiet * 32768.0) / 32768.0).astype(np.float32)
    return rounded
