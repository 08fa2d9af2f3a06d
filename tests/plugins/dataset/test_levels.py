"""Impossible sample values are reported with their place and are not played."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import soundfile

from core import Array, InputError
from plugins.dataset._audio.levels import Levels
from plugins.dataset._audio.reading import check, read

if TYPE_CHECKING:
    from pathlib import Path


RATE = 44100


def noise(frames: int = 2 * RATE) -> Array:
    """Return quiet noise (time, channel)."""
    return (0.1 * np.random.default_rng(0).standard_normal((frames, 2))).astype(np.float32)


def written(file: Path, samples: Array, subtype: str = "FLOAT") -> Path:
    """Write samples as floats."""
    soundfile.write(file, samples, RATE, subtype)
    return file


@pytest.mark.parametrize("subtype", ["FLOAT", "DOUBLE"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 3e38, -3e38])
@pytest.mark.parametrize("place", [0, 70_123, 2 * RATE - 1])
def test_values_that_are_no_samples_are_refused_with_their_place(
    tmp_path: Path, value: float, place: int, subtype: str
) -> None:
    """NaN, infinite or huge samples are refused by the plan, with their place in the file.

    One such value would silence every stem.
    """
    samples = noise()
    samples[place, 1] = value
    file = written(tmp_path / "song.wav", samples, subtype)
    for look in (check, read):
        with pytest.raises(InputError, match=r"`song\.wav` holds values") as told:
            look(file)
        at = f"0:{place / RATE:06.3f}"
        assert f"1 of 176,400 values, the first at {at}, channel 2" in told.value.lines


def test_numbers_beyond_those_of_float32_are_refused(tmp_path: Path) -> None:
    """A file of doubles with a value beyond float32, such as 1e300, is refused."""
    samples = noise(100).astype(np.float64)
    samples[3, 0] = 1e300
    with pytest.raises(InputError, match="holds values that are not samples"):
        read(written(tmp_path / "song.wav", samples, "DOUBLE"))


@pytest.mark.parametrize(("peak", "severity"), [(1.5, "info"), (4.0, "warning")])
def test_a_mix_above_full_scale_is_played_as_it_is_and_told(
    tmp_path: Path, peak: float, severity: str
) -> None:
    """Floats above full scale are played unchanged, and a notice names the peak and its place.

    Other players clip such a file.
    """
    samples = noise()
    samples[RATE, 0] = -peak
    sound = read(written(tmp_path / "song.wav", samples))
    np.testing.assert_array_equal(samples.T, sound.samples)
    (notice,) = sound.notices
    assert notice.severity == severity
    assert f"`song.wav` peaks at {peak:g}, {20 * np.log10(peak):.1f} dB above full" in notice.text
    assert "(1 samples, the first at 0:01.000, channel 1)" in notice.text


@pytest.mark.parametrize("bits", [16, 24, 32])
def test_integers_in_floats_are_brought_to_full_scale(tmp_path: Path, bits: int) -> None:
    """Floats in the range of integers are divided to full scale, and a notice says so.

    Such a file comes from a conversion without the division.
    """
    scale = 2.0 ** (bits - 1)
    samples = np.clip(3 * noise(), -0.9, 0.9)
    file = written(tmp_path / "song.wav", samples * np.float32(scale))
    sound = read(file)
    np.testing.assert_allclose(sound.samples, samples.T, rtol=1e-6)
    (notice,) = sound.notices
    assert f"read as integers of {bits} bits and divided by {scale:,.0f}" in notice.text
    assert check(file) == len(samples)


def test_single_samples_that_no_sound_has_are_clipped(tmp_path: Path) -> None:
    """Samples far above full scale are clipped, as in every player; others stay unchanged."""
    samples = noise()
    samples[RATE // 2, 1] = -1e6
    sound = read(written(tmp_path / "song.wav", samples))
    samples[RATE // 2, 1] = -1.0
    np.testing.assert_array_equal(samples.T, sound.samples)
    (notice,) = sound.notices
    assert "has 1 samples beyond 16 times full scale, the first (1e+06) at 0:00.500" in notice.text
    assert "they are clipped" in notice.text


def test_numbers_too_small_are_silence(tmp_path: Path) -> None:
    """Denormal samples become zero: they are inaudible and a hundred times slower to compute."""
    samples = noise()
    samples[10:20, 0] = 1e-42
    sound = read(written(tmp_path / "song.wav", samples))
    assert (sound.samples[0, 10:20] == 0).all()
    (notice,) = sound.notices
    assert (notice.severity, "has 10 samples too small" in notice.text) == ("info", True)


@pytest.mark.parametrize("subtype", ["PCM_16", "FLOAT"])
def test_a_silent_file_says_so(tmp_path: Path, subtype: str) -> None:
    """A file of silence is played, and a notice says that it is silent."""
    sound = read(written(tmp_path / "song.wav", np.zeros((100, 2), np.float32), subtype))
    assert "is silent from its beginning to its end" in sound.notices[0].text


@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_16", "PCM_24", "FLOAT"])
def test_a_usual_song_is_left_alone(tmp_path: Path, subtype: str) -> None:
    """Samples up to full scale stay unchanged and cause no notice."""
    samples = np.clip(8 * noise(), -1, 1)
    sound = read(written(tmp_path / "song.wav", samples, subtype))
    assert sound.notices == ()
    np.testing.assert_allclose(sound.samples, samples.T, atol=0.02)


def test_what_a_lossy_decoder_makes_of_damage_is_no_reason_to_refuse() -> None:
    """In a lossy file, NaN becomes silence and too loud samples are clipped, with warnings."""
    samples = noise(1000)
    samples[7, 0], samples[8, 0], samples[9, 1] = np.nan, 1e20, -40.0
    levels = Levels(RATE, floats=False)
    levels.add(samples)
    levels.check("song.ogg", "at: song.ogg")
    played, notices = levels.corrected(np.ascontiguousarray(samples.T), "song.ogg")
    assert (played[0, 7], played[0, 8], played[1, 9]) == (0.0, 1.0, -1.0)
    assert np.abs(played).max() <= 1.0
    assert [notice.severity for notice in notices] == ["warning", "warning"]
    assert "2 decoded samples are not valid, the first at 0:00.000, channel 1" in notices[0].text


def test_blocks_are_judged_as_one_sound() -> None:
    """Counts and places in notices do not depend on the blocks that a sound is cut into."""
    samples = noise(5000)
    samples[4321, 1] = 3.0
    told = []
    for size in (5000, 64, 1):
        levels = Levels(RATE, floats=True)
        for start in range(0, 5000, size):
            levels.add(samples[start : start + size])
        told.append(levels.corrected(samples.T.copy(), "song.wav")[1])
    assert told[0] == told[1] == told[2]
