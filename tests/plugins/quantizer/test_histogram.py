"""A histogram grows with its stream."""

from __future__ import annotations

import numpy as np
import pytest

from plugins.quantizer._onnx.calibration.histogram import BINS, Histogram


def _values(seed: int, scale: float) -> np.ndarray:
    return (np.random.default_rng(seed).standard_normal(5000) * scale).astype(np.float32)


def test_it_counts_as_numpy_does() -> None:
    """After one window the counts equal NumPy's histogram with the same edges."""
    histogram, values = Histogram(), _values(0, 1)
    histogram.add(values)
    expected = np.histogram(values, BINS, (-histogram.edge, histogram.edge))[0]
    # FP32 may put a value at a border into the next bin.
    assert np.abs(np.cumsum(histogram.counts) - np.cumsum(expected)).max() <= 1


def test_louder_values_lose_none_of_the_earlier() -> None:
    """When the edge doubles for louder values, every earlier value stays counted in its place."""
    histogram = Histogram()
    for seed, scale in enumerate((0.1, 1, 7, 0.01)):
        histogram.add(_values(seed, scale))
    assert histogram.counts.sum() == 20_000
    assert histogram.counts.size == BINS
    middle = np.abs(histogram.centres) < 0.5
    assert histogram.counts[middle].sum() == pytest.approx(5000 * 2.43, rel=0.02)


def test_a_tensor_that_is_zero_has_its_values_at_zero() -> None:
    """Silence before sound is counted in the middle bins, without a division by zero."""
    histogram = Histogram()
    histogram.add(np.zeros(100, np.float32))
    histogram.add(np.array([3, -1], np.float32))
    assert histogram.edge >= 3
    assert histogram.counts.sum() == 102
    assert histogram.counts[BINS // 2 - 1 : BINS // 2 + 1].sum() == 100


def test_an_empty_tensor_counts_nothing() -> None:
    """A tensor without elements adds no counts."""
    histogram = Histogram()
    histogram.add(np.zeros(0, np.float32))
    assert not histogram.counts.any()
