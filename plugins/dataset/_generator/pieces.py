"""Pieces of many kinds, each from a seed: ranges must cover values that songs do not reach.

Every song of `song.py` comes from the same four players and one limiter. Real music is mastered
louder, or not at all; it stops and starts hard, is narrow, one-sided, distorted or spoken. A piece
has one such subject throughout, so that every second of it shows the subject.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from plugins.dataset._generator import bands, chip, dynamics, guitar, hits, speech, stereo, tones
from plugins.dataset._generator.oscillators import Audio
from plugins.dataset._generator.song import Song, make_song

__all__ = ["KINDS", "make_piece"]

#: Pieces made from nothing: of a generator, a length in samples and a rate in hertz.
_NEW: Mapping[str, Callable[[np.random.Generator, int, int], Audio]] = {
    "hits": hits.lone_hits,
    "speech": speech.speak,
    "whistles": tones.whistles,
    "chip": chip.pulse_waves,
    "guitars": guitar.distorted_guitars,
    "noise": bands.noise,
    "sub_bass": tones.sub_bass,
}
#: Pieces made of a song.
_OF_SONGS: Mapping[str, Callable[[np.random.Generator, Song], Audio]] = {
    "song": lambda _rng, song: song.mixture,
    "steps": lambda rng, song: dynamics.steps(rng, song.mixture, song.samplerate),
    "master": lambda _rng, song: dynamics.dense(song.mixture),
    "bright": lambda rng, song: bands.bright(rng, song.mixture, song.samplerate),
    "telephone": lambda _rng, song: bands.telephone(song.mixture, song.samplerate),
    "gaps": lambda _rng, song: dynamics.gaps(song.mixture, song.samplerate),
    "clicks": lambda rng, song: hits.clicks(rng, song.stems["other"], song.samplerate),
    "voice": lambda _rng, song: song.stems["vocals"],
    "hall": lambda rng, song: bands.hall(rng, song.mixture, song.samplerate),
    "clipped": lambda _rng, song: dynamics.clipped(song.mixture),
    "opposite": lambda _rng, song: stereo.opposite(song.mixture),
    "drums": lambda _rng, song: song.stems["drums"],
    "tracker": lambda rng, song: chip.tracker(rng, song.mixture, song.samplerate),
    "near_silence": lambda _rng, song: dynamics.near_silence(song.mixture),
    "mono": lambda _rng, song: stereo.mono(song.mixture),
    "harmony": lambda _rng, song: song.stems["other"],
    "fades": lambda _rng, song: dynamics.fades(song.mixture, song.samplerate),
}
KINDS = (*_NEW, *_OF_SONGS)


def make_piece(kind: str, seed: int, seconds: float, samplerate: int = 44100) -> Audio:
    """Return a piece of `kind`, one of `KINDS`, (2, time); equal arguments give equal samples.

    Raises ValueError if it is shorter than a sample.
    """
    length = round(seconds * samplerate)
    if length < 1:
        raise ValueError(f"`seconds` is {seconds}: a piece needs at least 1 sample")
    rng = np.random.default_rng((seed, *kind.encode()))
    if kind in _NEW:
        return _NEW[kind](rng, length, samplerate)
    return _OF_SONGS[kind](rng, make_song(seed, seconds, samplerate))
