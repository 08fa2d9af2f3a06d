"""Changes to a song's two sides: the same, opposite, or one of them silent."""

from __future__ import annotations

import numpy as np

from plugins.dataset._generator.oscillators import Audio

__all__ = ["mono", "one_side", "opposite"]


def mono(song: Audio) -> Audio:
    """Put the same on both sides, (2, time)."""
    return np.repeat(song.mean(axis=0, keepdims=True, dtype=np.float32), 2, axis=0)


def opposite(song: Audio) -> Audio:
    """Put the left side's negative on the right: a mono player hears nothing, (2, time)."""
    return np.stack([song[0], -song[0]])


def one_side(song: Audio) -> Audio:
    """Silence the right side, (2, time)."""
    return np.stack([song[0], np.zeros_like(song[0])])
