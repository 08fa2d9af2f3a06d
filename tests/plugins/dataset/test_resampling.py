"""Resampling between any two rates keeps pitch, level and length, at a bounded cost."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.measure.metrics import snr_db
from plugins.dataset._audio.limits import RATES
from plugins.dataset._audio.resampling import resample

#: Rates, primes among them, whose ratio to 44,100 no filter of bounded length has.
ODD = [1009, 7919, 44101, 48017, 191_999, 499_979, 767_999]


def tone(rate: int, hertz: float, seconds: float = 0.5) -> np.ndarray:
    """Return a sine (1, time)."""
    phase = 2 * np.pi * hertz * np.arange(int(rate * seconds)) / rate
    return np.sin(phase).astype(np.float32)[None]


@pytest.mark.parametrize("old", [8000, 22050, 48000, 96000, 192000, *ODD])
@pytest.mark.parametrize("hertz", [110.0, 440.0, 3500.0])
def test_a_tone_keeps_its_pitch_and_level(old: int, hertz: float) -> None:
    """A resampled tone equals a tone made at the new rate within 90 dB, away from the ends."""
    if hertz > 0.46 * old:
        return  # above the limit of the old rate
    resampled, made = resample(tone(old, hertz), old, 44100), tone(44100, hertz)
    assert resampled.dtype == np.float32
    assert abs(resampled.shape[-1] - made.shape[-1]) <= 44100 // old + 1
    inner = slice(5000, 17000)
    assert snr_db(made[:, inner], resampled[:, inner]) > 90


@pytest.mark.parametrize("new", [44100, 44101])
def test_what_the_new_rate_cannot_hold_is_gone(new: int) -> None:
    """A tone at 30 kHz leaves no alias above -90 dB, with either method of resampling."""
    rest = resample(tone(96000, 30000.0), 96000, new)[:, 2000:20000]
    assert np.abs(rest).max() < 10 ** (-90 / 20)


@pytest.mark.parametrize("old", [44101, 8009])
def test_blocks_meet_without_a_seam(old: int) -> None:
    """A resampled sound of several blocks has no seam where two blocks meet."""
    resampled, made = resample(tone(old, 997.0, 4.3), old, 44100), tone(44100, 997.0, 4.3)
    inner = slice(5000, made.shape[-1] - 5000)
    assert np.abs(made[:, inner] - resampled[:, inner]).max() < 10 ** (-90 / 20)


@settings(max_examples=25, deadline=None)
@given(old=st.integers(*RATES), new=st.sampled_from([8000, 16000, 44100, 48000, 44101]))
def test_any_rate_gives_the_right_length_in_little_memory(old: int, new: int) -> None:
    """A short file of any rate, primes included, is resampled in less than 150 MB."""
    samples = np.ones((2, 1024), np.float32)
    tracemalloc.start()
    try:
        resampled = resample(samples, old, new)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert resampled.shape == (2, -(-1024 * new // old))
    assert np.isfinite(resampled).all()
    assert peak < 150e6


@pytest.mark.parametrize("old", [1000, 1009, 767_999, 768_000])
@pytest.mark.parametrize("frames", [1, 2])
def test_one_sample_stays_a_sound(old: int, frames: int) -> None:
    """One or two samples give at least one sample at the new rate."""
    assert resample(np.ones((1, frames), np.float32), old, 44100).shape[-1] >= 1
