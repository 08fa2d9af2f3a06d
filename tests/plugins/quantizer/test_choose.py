"""Ranges chosen from a histogram, compared by their real errors."""

from __future__ import annotations

import numpy as np
import pytest

from plugins.quantizer._onnx.calibration.choose import Range, by_entropy, by_mse, by_percentile
from plugins.quantizer._onnx.calibration.histogram import Histogram

RANDOM = np.random.default_rng(0)
DISTRIBUTIONS = {
    "normal": RANDOM.standard_normal(20_000),
    "laplace": RANDOM.laplace(size=20_000),
    "heavy tails": RANDOM.standard_t(3, 20_000),
    "one-sided": np.maximum(RANDOM.laplace(size=20_000), 0),
    "gelu": np.where(RANDOM.random(20_000) < 0.7, -0.17, 9.0) * RANDOM.random(20_000),
}


def _seen(values: np.ndarray) -> tuple[Histogram, Range]:
    histogram = Histogram()
    for part in np.split(values.astype(np.float32), 10):
        histogram.add(part)
    return histogram, (float(values.min()), float(values.max()))


def _error(values: np.ndarray, chosen: Range, steps: int) -> float:
    """Return the mean squared error of quantising `values`, computed one by one."""
    low, high = min(chosen[0], 0.0), max(chosen[1], 0.0)
    delta = (high - low) / steps
    zero = np.round(-low / delta)
    quantised = (np.clip(np.round(values / delta) + zero, 0, steps) - zero) * delta
    return float(np.mean((values - quantised) ** 2))


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_no_range_of_a_grid_errs_less_in_8_bits(name: str) -> None:
    """The chosen range errs at most 12 % more than the best range of a search over real errors.

    For an almost one-sided range, the real error also depends on the place of zero on the grid.
    """
    values = DISTRIBUTIONS[name]
    histogram, (least, most) = _seen(values)
    found = by_mse(histogram, (least, most), 255, symmetric=False)
    lows = [least * 0.85**k for k in range(10)] if least < 0 else [0.0]
    highs = [most * 0.85**k for k in range(10)]
    best = min(_error(values, (low, high), 255) for low in lows for high in highs)
    assert _error(values, found, 255) < 1.12 * best


@pytest.mark.parametrize("name", ["normal", "heavy tails"])
def test_16_bits_hold_the_extremes(name: str) -> None:
    """With 16 bits the range keeps the extremes, because clipping costs more than it gains."""
    histogram, extremes = _seen(DISTRIBUTIONS[name])
    assert by_mse(histogram, extremes, 65535, symmetric=False) == pytest.approx(extremes)


def test_a_symmetric_range_is_symmetric_and_clips() -> None:
    """A symmetric range has both ends equally far from zero and clips the outermost value."""
    histogram, extremes = _seen(DISTRIBUTIONS["heavy tails"])
    low, high = by_mse(histogram, extremes, 254, symmetric=True)
    assert low == -high
    assert high < 0.95 * max(-extremes[0], extremes[1])


def test_ranges_scale_with_the_values() -> None:
    """A louder signal gets the same range times its gain: no constant of the search has a unit."""
    values = DISTRIBUTIONS["laplace"]
    one = by_mse(*_seen(values), 255, symmetric=False)
    loud = by_mse(*_seen(values * 1024), 255, symmetric=False)
    assert loud == pytest.approx([1024 * end for end in one], rel=1e-3)


def test_a_constant_tensor_keeps_its_extremes() -> None:
    """A tensor of zeros keeps its extremes as its range."""
    histogram, extremes = _seen(np.zeros(100))
    assert by_mse(histogram, extremes, 255, symmetric=False) == (0, 0)
    assert by_percentile(histogram, extremes, 99.0) == (0, 0)


def test_a_percentile_leaves_out_as_much_at_either_end() -> None:
    """A percentile of 99 % keeps the values between the 0.5th and the 99.5th percentile."""
    values = DISTRIBUTIONS["normal"]
    histogram, extremes = _seen(values)
    expected = np.percentile(values, [0.5, 99.5])
    assert by_percentile(histogram, extremes, 99.0) == pytest.approx(expected, abs=0.02)


def test_entropy_clips_tails_and_keeps_within_the_extremes() -> None:
    """The entropy method cuts heavy tails and gives no range wider than the extremes."""
    histogram, extremes = _seen(DISTRIBUTIONS["heavy tails"])
    low, high = by_entropy(histogram, extremes)
    assert extremes[0] <= low < 0 < high < extremes[1]


def test_a_tensor_of_no_values_keeps_its_extremes() -> None:
    """A tensor without values keeps its extremes by every method."""
    nothing = Histogram()
    assert by_entropy(nothing, (0.0, 0.0)) == (0.0, 0.0)
    assert by_percentile(nothing, (0.0, 0.0), 99.9) == (0.0, 0.0)
    assert by_mse(nothing, (0.0, 0.0), 255, symmetric=False) == (0.0, 0.0)
