"""A whole song from a seed: score, four instruments, balance and limiter."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from plugins.dataset._generator.bass import play_bass
from plugins.dataset._generator.drums import play_drums
from plugins.dataset._generator.harmony import play_harmony
from plugins.dataset._generator.mastering import balance, limit
from plugins.dataset._generator.score import write_score
from plugins.dataset._generator.voice import play_voice

__all__ = ["STEMS", "Song", "make_song"]

STEMS = ("drums", "bass", "other", "vocals")
"""Order of the stems, which is the order of HTDemucs' sources."""

_PLAYERS = dict(zip(STEMS, (play_drums, play_bass, play_harmony, play_voice), strict=True))
# Shorter songs are cut out of one this long, in seconds, so that balancing has sound to measure.
_SHORTEST = 4.0


@dataclass(frozen=True)
class Song:
    """Four stems of one length; the peak of their sum is below 1."""

    seed: int
    samplerate: int
    """Hertz."""
    stems: Mapping[str, NDArray[np.float32]]
    """Name to samples, (2, time), in the order of `STEMS`."""

    @property
    def mixture(self) -> NDArray[np.float32]:
        """Sum of the stems, (2, time)."""
        total: NDArray[np.float32] = np.sum(list(self.stems.values()), axis=0, dtype=np.float32)
        return total


def make_song(seed: int, seconds: float, samplerate: int = 44100) -> Song:
    """Compose and play a song; equal arguments give equal samples.

    `seconds` may be as short as one sample. Raises `ValueError` if it is shorter than that.
    """
    length = round(seconds * samplerate)
    if length < 1:
        raise ValueError(f"`seconds` is {seconds}: a song needs at least 1 sample")
    played = max(length, round(_SHORTEST * samplerate))
    streams = [np.random.default_rng(s) for s in np.random.SeedSequence(seed).spawn(6)]
    score = write_score(streams[0], played, samplerate)
    raw = {
        name: player(stream, score)
        for (name, player), stream in zip(_PLAYERS.items(), streams[1:5], strict=True)
    }
    stems = limit(balance(streams[5], raw, samplerate), samplerate)
    cut = {name: np.ascontiguousarray(track[:, :length]) for name, track in stems.items()}
    return Song(seed, samplerate, cut)
