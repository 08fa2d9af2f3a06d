"""Pieces of many kinds each show their own property in every second."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import numpy as np
import pytest

from plugins.dataset._generator import KINDS, bands, make_piece, make_song, pieces
from plugins.dataset.synthetic import KINDS as IN_TURN

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

RATE = 44100
SECONDS = 4.0
SEED = 1003


@pytest.fixture(autouse=True, scope="module")
def _songs_are_made_once() -> Iterator[None]:
    """Cache `make_song`: a dozen kinds start from the same song, which takes most of the time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pieces, "make_song", functools.cache(make_song))
        yield


@functools.cache
def _piece(kind: str) -> NDArray[np.float32]:
    return make_piece(kind, SEED, SECONDS)


@functools.cache
def _mixture() -> NDArray[np.float32]:
    return make_song(SEED, SECONDS).mixture


def _db(samples: NDArray[np.float32]) -> float:
    return float(10 * np.log10(np.mean(np.square(samples, dtype=np.float64)) + 1e-20))


def _crest(samples: NDArray[np.float32]) -> float:
    """Return the peak over the RMS in dB."""
    return float(20 * np.log10(np.abs(samples).max())) - _db(samples)


def _levels(samples: NDArray[np.float32], seconds: float = 0.02) -> NDArray[np.float64]:
    """Return the levels of blocks in dB, the quietest first."""
    block = int(seconds * RATE)
    count = samples.shape[1] // block
    blocks = samples[:, : count * block].reshape(2, count, block)
    return np.sort(10 * np.log10(np.mean(np.square(blocks, dtype=np.float64), (0, 2)) + 1e-20))


def _share(samples: NDArray[np.float32], low: float, high: float) -> float:
    """Return the share of the power between two frequencies in hertz."""
    power = (np.abs(np.fft.rfft(samples.astype(np.float64))) ** 2).sum(axis=0)
    hertz = np.fft.rfftfreq(samples.shape[1], 1 / RATE)
    return float(power[(hertz >= low) & (hertz < high)].sum() / power.sum())


def test_the_dataset_takes_every_kind_once() -> None:
    """The dataset lists every kind of the generator once."""
    assert sorted(IN_TURN) == sorted(KINDS)


@pytest.mark.parametrize("kind", KINDS)
def test_a_piece_is_sound_in_every_second(kind: str) -> None:
    """A piece is finite stereo of the requested length, peaks below 1.1, with no silent second."""
    piece = _piece(kind)
    assert piece.dtype == np.float32
    assert piece.shape == (2, round(SECONDS * RATE))
    assert np.isfinite(piece).all()
    assert np.abs(piece).max() < 1.1
    for second in np.split(piece, int(SECONDS), axis=1):
        assert second.any()


@pytest.mark.parametrize("kind", KINDS)
def test_equal_seeds_give_equal_pieces_and_others_do_not(kind: str) -> None:
    """The same seed gives the same piece, another seed another piece, at any length and rate."""
    first = make_piece(kind, 5, 0.5)
    np.testing.assert_array_equal(make_piece(kind, 5, 0.5), first)
    assert not np.array_equal(make_piece(kind, 6, 0.5), first)
    assert make_piece(kind, 5, 1 / RATE).shape == (2, 1)
    assert make_piece(kind, 5, 0.25, 16_000).shape == (2, 4_000)


def test_lone_hits_peak_at_full_scale_after_digital_silence() -> None:
    """Single drum hits peak at full scale and have near silence between them.

    A hit after silence is the hardest case for a range.
    """
    piece = _piece("hits")
    assert np.abs(piece).max() == pytest.approx(1.0, abs=1e-3)
    assert _crest(piece) > 15
    assert np.mean(_levels(piece) < -60) > 0.1


def test_clicks_stand_far_above_what_they_interrupt() -> None:
    """The piece of clicks has a crest factor above 30 dB and jumps within single samples."""
    piece = _piece("clicks")
    assert _crest(piece) > 30
    jumps = np.abs(np.diff(piece, axis=1)).max()
    assert jumps > 0.5


def test_a_master_is_louder_than_songs_and_peaks_at_full_scale() -> None:
    """A master has an RMS above -9 dB and peaks at full scale, as records do.

    The generator's songs lie at -15 dB.
    """
    assert _db(_mixture()) < -12
    assert _db(_piece("master")) > -9
    assert 0.9 < np.abs(_piece("master")).max() <= 1.0


def test_clipping_holds_samples_at_full_scale() -> None:
    """More than 2 % of the clipped samples are at full scale, in flat tops of several samples."""
    flat = np.abs(_piece("clipped")) == 1.0
    assert flat.mean() > 0.02
    assert (flat[:, 1:] & flat[:, :-1]).mean() > 0.5 * flat.mean()


def test_near_silence_has_a_handful_of_steps_of_16_bits() -> None:
    """Near silence is a song at -66 dB in 16 bits, at most 20 steps high."""
    steps = _piece("near_silence") * 32768
    np.testing.assert_array_equal(steps, np.round(steps))
    assert 1 <= np.abs(steps).max() <= 20


@pytest.mark.parametrize("kind", ["steps", "fades", "gaps", "hits", "speech", "drums"])
def test_loudness_changes_within_every_second(kind: str) -> None:
    """The level changes by more than 25 dB between blocks of 20 ms, in every second."""
    for second in np.split(_piece(kind), int(SECONDS), axis=1):
        levels = _levels(second)
        assert levels[-2] - levels[1] > 25


def test_gaps_are_digital_silence_cut_without_a_fade() -> None:
    """Gaps are digital silence without a fade, and the rest is the song, sample by sample."""
    piece = _piece("gaps")
    silent = ~piece.any(axis=0)
    assert 0.5 < silent.mean() < 0.75
    np.testing.assert_array_equal(piece[:, ~silent], _mixture()[:, ~silent])


def test_sides_are_the_same_opposite_or_wide() -> None:
    """The two channels are equal, opposite or uncorrelated, as the kind says."""
    np.testing.assert_array_equal(*_piece("mono"))
    np.testing.assert_array_equal(_piece("opposite")[0], -_piece("opposite")[1])
    left, right = _piece("noise")
    assert abs(np.corrcoef(left, right)[0, 1]) < 0.1
    # Each of an Amiga's channels is on one side.
    left, right = _piece("tracker")
    assert abs(np.corrcoef(left, right)[0, 1]) < 0.3


def test_spectra_are_narrow_bright_low_or_even() -> None:
    """Each kind has its own spectrum.

    They are telephone, air above 16 kHz that songs lack, sub-bass, and noise of equal octaves.
    """
    assert _share(_piece("telephone"), 250, 3_800) > 0.99
    assert _share(_piece("bright"), 16_000, 22_050) > 20 * _share(_mixture(), 16_000, 22_050)
    assert _share(_piece("sub_bass"), 20, 150) > 0.8
    octaves = [_share(_piece("noise"), low, 2 * low) for low in (100, 1_000, 8_000)]
    assert max(octaves) < 1.5 * min(octaves)


def test_whistles_have_few_partials() -> None:
    """Nine tenths of the power of a whistle's block lie in 12 of its bins."""
    blocks = _piece("whistles")[0, : 40 * 4096].reshape(40, 4096) * np.hanning(4096)
    power = np.sort(np.abs(np.fft.rfft(blocks, axis=1)) ** 2, axis=1)
    shares = power[:, -12:].sum(axis=1) / (power.sum(axis=1) + 1e-12)
    assert np.median(shares) > 0.9


def test_stems_alone_are_those_of_the_song() -> None:
    """The pieces of drums, voice and chords are the stems of the song."""
    stems = make_song(SEED, SECONDS).stems
    for kind, stem in {"drums": "drums", "voice": "vocals", "harmony": "other"}.items():
        np.testing.assert_array_equal(_piece(kind), stems[stem])


def test_speech_is_pulses_with_pauses() -> None:
    """Speech has pauses near silence and a higher crest factor than a singing voice."""
    levels = _levels(_piece("speech"))
    assert 0.15 < np.mean(levels < levels[-1] - 40) < 0.7
    assert _crest(_piece("speech")) > _crest(_piece("voice"))


def test_distortion_and_pulse_waves_are_dense_and_rich() -> None:
    """Guitars and pulse waves have a crest factor below 11 dB and partials up to their top band."""
    for kind, top in {"guitars": 6_000, "chip": 20_000}.items():
        assert _crest(_piece(kind)) < 11
        assert _share(_piece(kind), top / 2, top) > 0.001


def test_a_hall_sounds_on_for_three_seconds() -> None:
    """The echo of a click falls by about 30 dB in 1.5 s, and the direct sound stays."""
    click = np.zeros((2, 3 * RATE), np.float32)
    click[:, 0] = 1.0
    echo = bands.hall(np.random.default_rng(0), click, RATE)
    early, late = echo[:, 100:4_510], echo[:, RATE * 3 // 2 :][:, :4_410]
    assert _db(early) - _db(late) == pytest.approx(29, abs=2)
    assert echo[0, 0] > 0.4


def test_no_sample_is_refused() -> None:
    """A piece of no samples is refused."""
    with pytest.raises(ValueError, match="at least 1 sample"):
        make_piece("noise", 0, 0.0)
