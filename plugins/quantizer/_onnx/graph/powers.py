"""Measures the loss at one output of a graph, of any type: signal and noise, in power."""

from __future__ import annotations

from typing import Any

__all__ = ["powers"]


def powers(expected: Any, got: Any) -> tuple[float, float]:
    """Return the power of an output and that of its error, summed over all values.

    Infinities that a model means (masked scores) count as no signal, and must be the same. An
    output of another shape, or with NaN where numbers should be, is lost: its error is as large
    as itself. So is a sequence of another length; each of its tensors counts.
    """
    import numpy as np

    if isinstance(expected, list):
        if not isinstance(got, list) or len(got) != len(expected):
            own = sum(powers(one, one)[0] for one in expected)
            return own, own or 1.0
        each = [powers(one, other) for one, other in zip(expected, got, strict=True)]
        return sum(one[0] for one in each), sum(one[1] for one in each)
    first, second = np.asarray(expected), np.asarray(got)
    if first.dtype.kind in "OSU":
        same = first.shape == second.shape
        return float(first.size), float(np.sum(first != second) if same else first.size)
    first = first.astype(np.float64)
    known = np.isfinite(first)
    signal = float(np.sum(np.square(first[known])))
    if second.shape != first.shape:
        return signal, signal or 1.0
    second = second.astype(np.float64)
    if not np.array_equal(first[~known], second[~known], equal_nan=True):
        return signal, signal or 1.0
    noise = float(np.sum(np.square(first[known] - second[known])))
    return signal, noise if np.isfinite(noise) else signal or 1.0
