"""The drum kit: each piece is synthesised once per song and then placed on the grid."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from plugins.dataset._generator.oscillators import Audio, decay, filtered_noise, pan, place, reverb
from plugins.dataset._generator.score import STEPS, Score

__all__ = ["make_kit", "play_drums"]

# One character per sixteenth: x is an accent, o a softer stroke.
_GROOVES = (
    {"kick": "x.....x.x.......", "snare": "....x.......x...", "hat": "x.o.x.o.x.o.x.o."},
    {"kick": "x...x...x...x...", "snare": "....x.......x...", "hat": "..x...x...x...x."},
    {"kick": "x..x..x...x.....", "snare": "....x..o.o..x...", "hat": "xoxoxoxoxoxoxoxo"},
    {"kick": "x.x.......x..x..", "snare": "....x.......x..o", "hat": "x.x.x.x.x.x.x.x."},
    {"kick": "x.........x.....", "snare": "........x.......", "hat": "x.ooxoo.x.ooxoo."},
    {"kick": "x..x....x..x....", "snare": "....x.......x...", "hat": "o.x.o.x.o.x.o.xo"},
)


@dataclass(frozen=True)
class Piece:
    """A sound of the kit, (2, time), ready to place."""

    sound: Audio
    level: float


def _kick(rng: np.random.Generator, rate: int) -> Audio:
    length = int(0.35 * rate)
    time = np.arange(length) / rate
    low, sweep = rng.uniform(44.0, 56.0), rng.uniform(120.0, 240.0)
    speed = rng.uniform(28.0, 45.0)
    phase = low * time - sweep / speed * np.exp(-speed * time)
    body = np.sin(2.0 * np.pi * phase) * decay(length, rate, rng.uniform(0.25, 0.4))
    click = filtered_noise(rng, length, rate, 1_500.0, 9_000.0) * decay(length, rate, 0.03)
    return (body + rng.uniform(0.25, 0.5) * click).astype(np.float32)


def _snare(rng: np.random.Generator, rate: int) -> Audio:
    length = int(0.3 * rate)
    time = np.arange(length) / rate
    tone = np.sin(2.0 * np.pi * rng.uniform(170.0, 220.0) * time) * decay(length, rate, 0.15)
    rattle = filtered_noise(rng, length, rate, rng.uniform(900.0, 1_800.0), 11_000.0)
    rattle *= decay(length, rate, rng.uniform(0.18, 0.3))
    return (0.6 * tone + 0.9 * rattle).astype(np.float32)


def _clap(rng: np.random.Generator, rate: int) -> Audio:
    length = int(0.25 * rate)
    envelope = 0.8 * decay(length, rate, 0.22)
    for delay in (0.0, 0.011, 0.023):
        begin = int(delay * rate)
        envelope[begin:] += decay(length - begin, rate, 0.03)
    return 0.7 * filtered_noise(rng, length, rate, 900.0, 6_000.0) * envelope


def _cymbal(seconds: float, low: float) -> Callable[[np.random.Generator, int], Audio]:
    def strike(rng: np.random.Generator, rate: int) -> Audio:
        length = int(seconds * rate)
        noise = filtered_noise(rng, length, rate, low * rng.uniform(0.85, 1.2), 18_000.0)
        return noise * decay(length, rate, seconds)

    return strike


def _tom(rng: np.random.Generator, rate: int) -> Audio:
    length = int(0.35 * rate)
    time = np.arange(length) / rate
    phase = rng.uniform(90.0, 140.0) * time - 1.5 * np.exp(-20.0 * time)
    skin = filtered_noise(rng, length, rate, 800.0, 5_000.0) * decay(length, rate, 0.05)
    body = np.sin(2.0 * np.pi * phase) * decay(length, rate, 0.35)
    return (body + 0.3 * skin).astype(np.float32)


def make_kit(rng: np.random.Generator, rate: int) -> dict[str, Piece]:
    """Synthesise kick, snare (or clap), closed and open hat, crash and tom of one song."""
    side = float(rng.choice([-1.0, 1.0]))
    backbeat = _clap if rng.random() < 0.25 else _snare
    makers: dict[str, tuple[Callable[[np.random.Generator, int], Audio], float, float]] = {
        "kick": (_kick, 0.0, 1.0),
        "snare": (backbeat, 0.05 * side, rng.uniform(0.6, 0.85)),
        "hat": (_cymbal(0.09, 6_500.0), 0.3 * side, rng.uniform(0.3, 0.5)),
        "open": (_cymbal(0.35, 6_000.0), 0.3 * side, rng.uniform(0.2, 0.3)),
        "crash": (_cymbal(1.6, 3_500.0), -0.4 * side, 0.3),
        "tom": (_tom, -0.3 * side, 0.8),
    }
    return {
        name: Piece(pan(maker(rng, rate), position), float(level))
        for name, (maker, position, level) in makers.items()
    }


def play_drums(rng: np.random.Generator, score: Score) -> Audio:
    """Drums of a whole song, (2, time): a groove per section, fills, crashes and a room."""
    track = np.zeros((2, score.length), dtype=np.float32)
    kit = make_kit(rng, score.samplerate)
    grooves = [_GROOVES[i] for i in rng.choice(len(_GROOVES), 2, replace=False)]

    def hit(name: str, bar: int, step: int, strength: float) -> None:
        early = int(rng.normal(0.0, 0.002) * score.samplerate)
        gain = kit[name].level * strength * rng.uniform(0.85, 1.0)
        place(track, kit[name].sound * np.float32(gain), score.start(bar, step) + early)

    for bar in range(len(score.degrees)):
        fill = bar % 8 == 7
        for name, line in grooves[bar // 8 % 2].items():
            for step, mark in enumerate(line):
                if mark == "." or (fill and name != "kick" and step >= STEPS - 4):
                    continue
                ring = name == "hat" and step % 8 == 6 and rng.random() < 0.3
                hit("open" if ring else name, bar, step, 1.0 if mark == "x" else 0.5)
        if fill:
            for step in range(STEPS - 4, STEPS):
                hit("tom" if rng.random() < 0.6 else "snare", bar, step, 0.7 + 0.08 * (step - 12))
        if bar % 8 == 0:
            hit("crash", bar, 0, 1.0)
    room, wet = float(rng.uniform(0.2, 0.5)), float(rng.uniform(0.05, 0.15))
    return reverb(rng, track, score.samplerate, room, wet)
