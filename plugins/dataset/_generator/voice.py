"""The voice: a glottal source with vibrato and glides, shaped by the formants of vowels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.fft
import scipy.ndimage
from numpy.typing import NDArray

from plugins.dataset._generator.oscillators import (
    Audio,
    filtered_noise,
    pan,
    place,
    reverb,
    spectrum_filter,
    wave,
    wavetable,
)
from plugins.dataset._generator.score import STEPS, Score

__all__ = ["VOWELS", "WIDTHS", "play_voice"]

# Formant frequencies of a, e, i, o, u in hertz (Peterson and Barney 1952, women; 4 and 5
# are typical values), widths in hertz and amplitudes.
VOWELS = (
    (850.0, 1220.0, 2810.0, 3800.0),
    (610.0, 2330.0, 2990.0, 3900.0),
    (310.0, 2790.0, 3310.0, 4000.0),
    (590.0, 920.0, 2710.0, 3700.0),
    (370.0, 950.0, 2670.0, 3700.0),
)
WIDTHS = (90.0, 110.0, 160.0, 220.0)
_AMPLITUDES = (1.0, 0.7, 0.4, 0.25)
# Lengths in sixteenths of the syllables of a phrase; the rest of its two bars is silence.
_PHRASES = (
    (4, 2, 2, 4, 2, 2, 8),
    (2, 2, 2, 2, 4, 4, 2, 2, 6),
    (6, 2, 8, 6, 4),
    (3, 3, 2, 4, 4, 3, 3, 6),
    (8, 4, 4, 10),
    (2, 2, 4, 2, 2, 4, 2, 2, 8),
)


@dataclass(frozen=True)
class Syllable:
    """One sung note."""

    start: int
    """Samples."""
    end: int
    """Samples."""
    midi: int
    vowel: int
    first: bool
    """Whether a phrase begins here, with a breath before it."""


def _melody(rng: np.random.Generator, score: Score) -> list[Syllable]:
    """Walk at random on the scale and meet a chord tone on every strong beat."""
    lowest = int(rng.integers(52, 63))
    degrees = range(-7, 22)
    scale = [note for note in (score.pitch(d, 3) for d in degrees) if lowest <= note <= lowest + 14]
    where = len(scale) // 2
    # A phrase that returns keeps its rhythm, contour and vowels: that makes it a melody.
    phrases = [
        [(steps, int(rng.integers(-2, 3)), int(rng.integers(len(VOWELS)))) for steps in _PHRASES[i]]
        for i in rng.choice(len(_PHRASES), 3, replace=False)
    ]
    syllables = []
    for pair, bar in enumerate(range(0, len(score.degrees), 2)):
        at = 0
        for index, (steps, move, vowel) in enumerate(phrases[pair % 4 % 3]):
            now, step = bar + at // STEPS, at % STEPS
            if now >= len(score.degrees):
                break
            where = int(np.clip(where + move, 0, len(scale) - 1))
            if at % 4 == 0:
                chord = {note % 12 for note in score.chord(now, 4)}
                tones = [i for i, note in enumerate(scale) if note % 12 in chord]
                where = min(tones, key=lambda i: abs(i - where))
            at += steps
            start, end = score.start(now, step), score.start(bar + at // STEPS, at % STEPS)
            syllables.append(Syllable(start, end, scale[where], vowel, index == 0))
    return syllables


def _pitch(rng: np.random.Generator, score: Score, sung: list[Syllable]) -> NDArray[np.float64]:
    """Hertz per sample, (time,): glides between notes, a vibrato that grows, a little drift."""
    rate, length = score.samplerate, score.length
    notes = np.full(length, float(sung[0].midi))
    depth = np.zeros(length)
    for syllable in sung:
        notes[syllable.start :] = syllable.midi
        depth[syllable.start + int(0.12 * rate) : syllable.end] = 1.0
    glide = max(1, int(rng.uniform(0.03, 0.07) * rate))
    notes = scipy.ndimage.uniform_filter1d(notes, glide, mode="nearest")
    depth = scipy.ndimage.uniform_filter1d(depth, max(1, int(0.2 * rate)), mode="nearest")
    time = np.arange(length) / rate
    speed, amount = rng.uniform(4.8, 6.2), rng.uniform(0.25, 0.5)
    vibrato = amount * depth * np.sin(2.0 * np.pi * speed * time + 0.4 * np.sin(1.7 * time))
    drift = 0.06 * np.sin(2.0 * np.pi * 0.31 * time + rng.uniform(0.0, 6.0))
    bent: NDArray[np.float64] = 440.0 * 2.0 ** ((notes + vibrato + drift - 69.0) / 12.0)
    return bent


def _formants(score: Score, scale: float, fft_length: int) -> list[NDArray[np.float64]]:
    """Magnitude response of each vowel, (fft_length // 2 + 1,), for a vocal tract's `scale`."""
    hz = scipy.fft.rfftfreq(fft_length, 1.0 / score.samplerate)
    responses = []
    for vowel in VOWELS:
        gain = np.full(len(hz), 0.02)
        for centre, width, amplitude in zip(vowel, WIDTHS, _AMPLITUDES, strict=True):
            gain += amplitude / np.sqrt(1.0 + ((hz - centre * scale) / width) ** 2)
        responses.append(gain)
    return responses


def _consonants(rng: np.random.Generator, score: Score, sung: list[Syllable]) -> Audio:
    """Hiss of s, f, t and breaths, (time,), placed before the syllables that have one."""
    rate = score.samplerate
    track = np.zeros((1, score.length), dtype=np.float32)
    bank = [
        filtered_noise(rng, rate, rate, low, high)
        for low, high in ((4_500.0, 9_000.0), (2_500.0, 7_000.0), (1_500.0, 5_000.0))
    ]
    for syllable in sung:
        if not syllable.first and rng.random() < 0.35:
            continue
        length = int((rng.uniform(0.15, 0.25) if syllable.first else rng.uniform(0.04, 0.1)) * rate)
        source = bank[2] if syllable.first else bank[rng.integers(2)]
        offset = int(rng.integers(rate - length))
        hiss = source[offset : offset + length] * np.hanning(length).astype(np.float32)
        level = 0.12 if syllable.first else rng.uniform(0.15, 0.35)
        place(track, hiss * np.float32(level), syllable.start - int(0.7 * length))
    hisses: Audio = track[0]
    return hisses


def play_voice(rng: np.random.Generator, score: Score) -> Audio:
    """Lead voice of a whole song, (2, time), in the middle, 165 to 660 Hz, with a plate."""
    rate, length = score.samplerate, score.length
    sung = _melody(rng, score)
    pitch = _pitch(rng, score, sung)
    partials = np.arange(1.0, 61.0) ** -rng.uniform(0.8, 1.1)
    source = wave(wavetable(partials, float(pitch.max()), rate), pitch, length, rate)
    source += np.float32(0.06) * filtered_noise(rng, length, rate, 1_000.0, 8_000.0)
    loudness = np.zeros(length, dtype=np.float32)
    weights = np.zeros((len(VOWELS), length), dtype=np.float32)
    for syllable in sung:
        # A short gap before each syllable is where its consonant sits.
        end = max(syllable.start + 1, syllable.end - int(0.03 * rate))
        loudness[syllable.start : end] = rng.uniform(0.75, 1.0)
        weights[syllable.vowel, syllable.start : syllable.end] = 1.0
    smooth = max(1, int(0.035 * rate))
    loudness = scipy.ndimage.uniform_filter1d(loudness, smooth, mode="constant")
    weights = scipy.ndimage.uniform_filter1d(weights, 2 * smooth, axis=-1, mode="nearest")
    fft_length = scipy.fft.next_fast_len(length + rate // 10, real=True)
    responses = _formants(score, float(rng.uniform(0.88, 1.08)), fft_length)
    shaped = spectrum_filter(source, responses, fft_length)
    tone = sum((weight * sound for weight, sound in zip(weights, shaped, strict=True)), 0.0)
    tone = np.asarray(tone * loudness, dtype=np.float32)
    tone /= np.sqrt(np.mean(tone**2)) + 1e-9
    voice = tone + _consonants(rng, score, sung) * np.float32(2.0)
    return reverb(rng, pan(voice, 0.0), rate, float(rng.uniform(0.5, 1.0)), 0.12)
