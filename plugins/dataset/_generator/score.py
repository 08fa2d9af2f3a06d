"""The score of a song: tempo, key and chords, which every instrument reads."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

__all__ = ["STEPS", "Score", "hertz", "write_score"]

STEPS = 16
"""Sixteenth notes in a bar; every song is in 4/4."""

_MAJOR = (0, 2, 4, 5, 7, 9, 11)
_MINOR = (0, 2, 3, 5, 7, 8, 10)
_MAJOR_PROGRESSIONS = ((0, 4, 5, 3), (0, 5, 3, 4), (5, 3, 0, 4), (0, 3, 0, 4), (0, 2, 3, 4))
_MINOR_PROGRESSIONS = ((0, 5, 2, 6), (0, 3, 4, 0), (0, 6, 5, 6), (0, 5, 3, 4), (0, 2, 5, 6))


@dataclass(frozen=True)
class Score:
    """What the instruments agree on."""

    samplerate: int
    """Hertz."""
    length: int
    """Samples."""
    bpm: float
    """Beats (quarter notes) per minute."""
    swing: float
    """How late every second sixteenth is, as a fraction of a sixteenth."""
    tonic: int
    """Pitch class of the key, 0 for C to 11 for B."""
    scale: tuple[int, ...]
    """Semitones above the tonic of the seven degrees."""
    degrees: tuple[int, ...]
    """Degree, 0 to 6, of the chord of each bar."""

    @property
    def step_seconds(self) -> float:
        """Length of a sixteenth note, in seconds."""
        return 15.0 / self.bpm

    def start(self, bar: int, step: float) -> int:
        """Sample at which `step` (0 to 16) of `bar` begins, with swing."""
        late = self.swing if step % 2 == 1 else 0.0
        return round((bar * STEPS + step + late) * self.step_seconds * self.samplerate)

    def pitch(self, degree: int, octave: int) -> int:
        """MIDI note of a degree of the key; degrees outside 0 to 6 change the octave."""
        turn, index = divmod(degree, len(self.scale))
        return 12 * (octave + 1 + turn) + self.tonic + self.scale[index]

    def chord(self, bar: int, octave: int) -> tuple[int, ...]:
        """MIDI notes of the bar's triad, root first."""
        root = self.degrees[bar]
        return tuple(self.pitch(root + third, octave) for third in (0, 2, 4))

    def voicing(self, bar: int, lowest: int) -> tuple[int, ...]:
        """Four MIDI notes: the triad in the octave above `lowest`, its first note doubled.

        Every chord takes the inversion that fits there, so chords move by small steps.
        """
        triad = sorted(lowest + (note - lowest) % 12 for note in self.chord(bar, 4))
        return (*triad, triad[0] + 12)


def hertz(midi: float) -> float:
    """Frequency of a MIDI note in equal temperament, A4 (69) at 440 Hz."""
    return float(440.0 * 2.0 ** ((midi - 69.0) / 12.0))


def write_score(rng: np.random.Generator, length: int, samplerate: int) -> Score:
    """Draw a score that covers `length` samples; verses and choruses alternate every 8 bars."""
    bpm = float(rng.uniform(70.0, 160.0))
    swing = float(rng.choice([0.0, 0.0, 0.0, 0.2, 0.33]))
    minor = bool(rng.random() < 0.5)
    progressions = _MINOR_PROGRESSIONS if minor else _MAJOR_PROGRESSIONS
    verse, chorus = (progressions[i] for i in rng.choice(len(progressions), 2, replace=False))
    bars = int(length / samplerate * bpm / 240.0) + 1
    degrees = tuple((verse, chorus)[bar // 8 % 2][bar % 4] for bar in range(bars))
    tonic = int(rng.integers(12))
    return Score(samplerate, length, bpm, swing, tonic, _MINOR if minor else _MAJOR, degrees)
