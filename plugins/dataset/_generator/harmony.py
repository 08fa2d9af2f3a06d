"""The "other" stem: sustained pads, plucked or struck chords, and an arpeggio, spread wide."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from plugins.dataset._generator.oscillators import (
    Audio,
    adsr,
    decay,
    pan,
    place,
    reverb,
    wave,
    wavetable,
)
from plugins.dataset._generator.score import STEPS, Score, hertz

__all__ = ["play_harmony"]

# Sixteenths at which a bar's chord is struck.
_STABS = (
    (0, 6, 12),
    (0, 4, 8, 12),
    (0, 3, 6, 8, 11, 14),
    (4, 12),
    (0, 2, 6, 8, 10, 14),
    (2, 6, 10, 14),
)
_ARPEGGIOS = ((0, 1, 2, 3, 2, 1), (0, 2, 1, 3), (3, 2, 1, 0), (0, 1, 2, 1))


def _partials(rng: np.random.Generator, kind: str) -> NDArray[np.float64]:
    """Amplitudes of the first partials of a kind of instrument."""
    order = np.arange(1.0, 41.0)
    if kind == "organ":
        drawbars = np.zeros(40)
        drawbars[[0, 1, 2, 3, 5, 7]] = rng.uniform(0.2, 1.0, 6)
        return drawbars
    if kind == "square":
        return np.where(order % 2 == 1, 1.0 / order, 0.0)
    if kind == "saw":
        return order ** -rng.uniform(1.0, 1.3)
    # A string struck or plucked at a fraction of its length misses some partials.
    return np.abs(np.sin(np.pi * order * rng.uniform(0.12, 0.3))) * order ** -rng.uniform(0.9, 1.3)


def _pad(rng: np.random.Generator, score: Score) -> Audio:
    """Chords held for a bar, two slightly detuned voices per note, one on each side."""
    rate = score.samplerate
    track = np.zeros((2, score.length), dtype=np.float32)
    partials = _partials(rng, str(rng.choice(["saw", "organ", "square"])))
    attack, detune = float(rng.uniform(0.02, 0.15)), float(rng.uniform(0.001, 0.003))
    for bar in range(len(score.degrees)):
        begin, end = score.start(bar, 0), score.start(bar + 1, 0)
        length = min(end, score.length) - begin + int(0.15 * rate)
        envelope = adsr(length, rate, attack, 1.0, 0.75, 0.15)
        for note in score.voicing(bar, 60)[:3]:
            hz = hertz(note)
            table = wavetable(partials, hz, rate)
            sides = [wave(table, hz * (1.0 + cents), length, rate) for cents in (-detune, detune)]
            place(track, np.stack(sides) * envelope, begin)
    return track


def _chords(rng: np.random.Generator, score: Score) -> Audio:
    """Keys or guitar: the chord struck on a rhythm, strummed, each note ringing out."""
    rate = score.samplerate
    track = np.zeros((2, score.length), dtype=np.float32)
    partials = _partials(rng, "string")
    dark = partials * np.arange(1.0, 41.0) ** -1.0
    stabs = [_STABS[i] for i in rng.choice(len(_STABS), 2, replace=False)]
    ring, strum = float(rng.uniform(0.5, 1.6)), float(rng.uniform(0.0, 0.012))
    side = float(rng.choice([-1.0, 1.0]) * rng.uniform(0.3, 0.7))
    length = int(min(ring, 1.2) * rate)
    bright_part = decay(length, rate, ring * 0.4)
    envelope = decay(length, rate, ring) * adsr(length, rate, 0.003, 1.0, 1.0, 0.05)
    lowest = int(rng.integers(55, 63))
    sounds: dict[int, Audio] = {}
    for bar in range(len(score.degrees)):
        for step in stabs[bar // 8 % 2]:
            for voice, note in enumerate(score.voicing(bar, lowest)):
                if note not in sounds:
                    hz = hertz(note)
                    tone = wave(wavetable(partials, hz, rate), hz, length, rate) * bright_part
                    tone += wave(wavetable(dark, hz, rate), hz, length, rate) * (1.0 - bright_part)
                    sounds[note] = pan(tone * envelope, side * (0.6 + 0.13 * voice))
                late = int(voice * strum * rate)
                gain = np.float32(rng.uniform(0.7, 1.0))
                place(track, sounds[note] * gain, score.start(bar, step) + late)
    return track


def _arpeggio(rng: np.random.Generator, score: Score) -> Audio:
    """Short synthesiser notes through the chord's tones, an octave up, left and right in turn."""
    rate = score.samplerate
    track = np.zeros((2, score.length), dtype=np.float32)
    partials = _partials(rng, str(rng.choice(["square", "saw", "string"])))
    order = _ARPEGGIOS[rng.integers(len(_ARPEGGIOS))]
    lowest = int(rng.integers(67, 75))
    every, width = int(rng.choice([1, 2, 2])), float(rng.uniform(0.5, 0.9))
    length = int(rng.uniform(0.15, 0.4) * rate)
    quiet = int(rng.choice([0, 4, 8]))  # silent bars at the start of each verse
    envelope = adsr(length, rate, 0.004, length / rate / 3.0, 0.1, 0.03)
    for bar in range(len(score.degrees)):
        if bar % 16 < quiet:
            continue
        tones = score.voicing(bar, lowest)
        for index, step in enumerate(range(0, STEPS, every)):
            hz = hertz(tones[order[index % len(order)]])
            tone = wave(wavetable(partials, hz, rate), hz, length, rate) * envelope
            tone *= np.float32(rng.uniform(0.7, 1.0))
            place(track, pan(tone, width if index % 2 else -width), score.start(bar, step))
    return track


def _level(track: Audio, gain: float) -> Audio:
    power = float(np.sqrt(np.mean(track**2))) + 1e-9
    return track * np.float32(gain / power)


def play_harmony(rng: np.random.Generator, score: Score) -> Audio:
    """Everything that is not drums, bass or voice, (2, time), from 260 Hz upwards, with a hall."""
    track = _level(_chords(rng, score), float(rng.uniform(0.7, 1.2)))
    track += _level(_pad(rng, score), float(rng.uniform(0.4, 1.0)))
    if rng.random() < 0.6:
        track += _level(_arpeggio(rng, score), float(rng.uniform(0.4, 0.7)))
    hall, wet = float(rng.uniform(0.6, 1.4)), float(rng.uniform(0.1, 0.25))
    return reverb(rng, track, score.samplerate, hall, wet)
