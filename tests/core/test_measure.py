"""The measures that hold for any model."""

from __future__ import annotations

import math
import time

import numpy as np
import pytest

from core.measure import compare, latency, peak_memory, snr_db
from core.play import spread
from tests import toy


def test_snr_is_the_ratio_of_energies_in_db() -> None:
    """A tenth of the amplitude as error is 20 dB."""
    signal = np.ones(1000, dtype=np.float32)
    assert snr_db(signal, signal * np.float32(1.1)) == pytest.approx(20, abs=1e-3)


@pytest.mark.parametrize(
    ("reference", "estimate", "expected"),
    [(0.0, 0.0, 200.0), (1.0, 1.0, 200.0), (0.0, 1.0, -200.0), (1.0, math.nan, -200.0)],
)
def test_snr_is_finite_for_silence_and_nonsense(
    reference: float, estimate: float, expected: float
) -> None:
    """Equal silences are equal; an estimate that is not a number is as wrong as can be."""
    pair = (np.full(4, value, dtype=np.float32) for value in (reference, estimate))
    assert snr_db(*pair) == expected


def test_shapes_must_agree() -> None:
    """Broadcasting would hide a wrong length."""
    with pytest.raises(ValueError, match="shapes differ"):
        snr_db(np.ones((2, 3), dtype=np.float32), np.ones(3, dtype=np.float32))


def test_compare_gives_every_label_its_own_snr() -> None:
    """An error in one row shows in that row only."""
    reference = {"y": np.ones((2, 50), dtype=np.float32)}
    estimate = {"y": np.stack([np.ones(50), np.full(50, 1.1)]).astype(np.float32)}
    snr = compare([reference], [estimate], toy.SIGNATURE)
    assert snr.labels == ("first", "second")
    assert snr.per_label == (200.0, pytest.approx(20, abs=1e-3))
    assert snr.overall == pytest.approx(23, abs=0.1)


def test_latency_names_median_tail_and_real_time() -> None:
    """Half a second of compute for two seconds of input is a factor of 0.25."""
    metrics = {(m.name, m.subject): m.value for m in latency([0.1] * 4 + [0.1], 2.0, "here")}
    assert metrics["latency", "median"] == pytest.approx(100)
    assert metrics["real_time_factor", ""] == pytest.approx(0.25)


def test_latency_without_time_has_no_real_time_factor() -> None:
    """An image does not last."""
    assert "real_time_factor" not in {m.name for m in latency([0.1], None, "here")}


def test_peak_memory_sees_what_is_gone_again() -> None:
    """An array that lived for a moment counts."""
    with peak_memory(0.005) as before:
        time.sleep(0.05)
    with peak_memory(0.005) as peak:
        array = np.ones(40_000_000, dtype=np.float32)
        time.sleep(0.1)
        del array
    assert peak.mb > before.mb + 100


@pytest.mark.parametrize("overlap", [0, 3])
def test_windows_to_compare_on_do_not_depend_on_the_overlap(overlap: int) -> None:
    """So that changing it keeps what was measured."""
    chunker = toy.Even(toy.EvenOptions(4, overlap))
    inputs = {"x": np.zeros((2, 18), dtype=np.float32)}
    windows = spread(2, inputs, chunker, toy.SIGNATURE)
    assert [(w.start["place"], w.stop["place"]) for w in windows] == [(4, 8), (12, 16)]


def test_a_short_input_gives_one_window() -> None:
    """Shorter than a window is still something to compare on."""
    chunker = toy.Even(toy.EvenOptions(8))
    windows = spread(3, {"x": np.zeros((2, 1), dtype=np.float32)}, chunker, toy.SIGNATURE)
    assert [(w.start["place"], w.stop["place"]) for w in windows] == [(0, 1)]
