"""The song generator is seeded, finite, additive and audible."""

from __future__ import annotations

import numpy as np
import pytest

from plugins.dataset._generator import STEMS, Song, make_song

SECONDS = 6.0


@pytest.fixture(scope="module", params=[0, 1, 10_000])
def song(request: pytest.FixtureRequest) -> Song:
    """Make a few seconds of a song; the seeds differ in tempo, key and instruments."""
    return make_song(request.param, SECONDS)


def test_equal_seeds_give_equal_samples(song: Song) -> None:
    """The same seed gives the same samples."""
    again = make_song(song.seed, SECONDS)
    for name in STEMS:
        np.testing.assert_array_equal(again.stems[name], song.stems[name])


def test_different_seeds_give_different_stems() -> None:
    """Two seeds differ in every stem."""
    first, second = make_song(2, 4.0), make_song(3, 4.0)
    for name in STEMS:
        assert not np.allclose(first.stems[name], second.stems[name])


def test_stems_have_the_order_and_shape_of_htdemucs_sources(song: Song) -> None:
    """The four stems are stereo float32 of the requested length, in HTDemucs's order."""
    assert tuple(song.stems) == STEMS == ("drums", "bass", "other", "vocals")
    for stem in song.stems.values():
        assert stem.shape == (2, round(SECONDS * 44100))
        assert stem.dtype == np.float32


def test_mixture_is_the_sum_of_the_stems(song: Song) -> None:
    """The mixture is exactly the sum of the stems, because the limiter acts on the stems."""
    total = np.zeros_like(song.mixture)
    for stem in song.stems.values():
        total += stem
    np.testing.assert_array_equal(song.mixture, total)


def test_peak_is_below_one_and_samples_are_finite(song: Song) -> None:
    """Mixture and stems are finite and below full scale, so a sound file can hold them."""
    for track in (song.mixture, *song.stems.values()):
        assert np.isfinite(track).all()
        assert np.abs(track).max() < 1.0


def test_every_stem_is_audible(song: Song) -> None:
    """No stem is more than 15 dB below the mix, over the whole song."""
    mix = np.mean(song.mixture**2)
    for name, stem in song.stems.items():
        assert 10.0 * np.log10(np.mean(stem**2) / mix) > -15.0, name


def test_bass_is_lowest_and_drums_are_brightest(song: Song) -> None:
    """The bass has the lowest spectral centroid of the stems, and the drums have the highest.

    A small network can learn to split stems by their spectrum.
    """
    centroids = {}
    for name, stem in song.stems.items():
        power = np.abs(np.fft.rfft(stem.mean(axis=0))) ** 2
        hertz = np.fft.rfftfreq(stem.shape[1], 1.0 / song.samplerate)
        centroids[name] = np.sum(power * hertz) / np.sum(power)
    assert min(centroids, key=lambda name: centroids[name]) == "bass"
    assert max(centroids, key=lambda name: centroids[name]) == "drums"


@pytest.mark.parametrize("samples", [1, 2, 441, 44_101])
def test_any_length_from_one_sample(samples: int) -> None:
    """A song has exactly the requested length, from one sample on."""
    short = make_song(7, samples / 44100)
    assert short.mixture.shape == (2, samples)
    assert np.isfinite(short.mixture).all()


@pytest.mark.parametrize("samplerate", [16_000, 48_000])
def test_other_sample_rates(samplerate: int) -> None:
    """Songs at 16 and 48 kHz are finite: filters and partials stay below half the rate."""
    other = make_song(4, 2.0, samplerate)
    assert other.mixture.shape == (2, 2 * samplerate)
    assert np.isfinite(other.mixture).all()


def test_no_sample_is_refused() -> None:
    """A song of no samples is refused."""
    with pytest.raises(ValueError, match="at least 1 sample"):
        make_song(0, 0.0)
