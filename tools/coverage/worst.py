"""The SNR of the worst output of a network, whatever its outputs are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from core.measure.metrics import LIMIT_DB, snr_of_powers

__all__ = ["worst_db"]


def worst_db(expected: Sequence[Mapping[str, Any]], outputs: Sequence[Mapping[str, Any]]) -> float:
    """Return the SNR of the worst output, each over all windows.

    Whole numbers, truth values and texts count only if no output has floats.
    """
    floats = [n for n, value in expected[0].items() if _is_float(value)]
    found = []
    for name in floats or list(expected[0]):
        signal = noise = 0.0
        for before, after in zip(expected, outputs, strict=True):
            more = _powers(before[name], after[name], name)
            signal, noise = signal + more[0], noise + more[1]
        found.append(snr_of_powers(signal, noise))
    return round(min(found, default=LIMIT_DB), 2)


def _is_float(value: Any) -> bool:
    import numpy as np

    values = value if isinstance(value, list) else [value]
    return all(np.asarray(one).dtype.kind == "f" for one in values)


def _powers(before: Any, after: Any, name: str) -> tuple[float, float]:
    """Return the powers of signal and noise of one output; a sequence is the sum of its items."""
    import numpy as np

    if isinstance(before, list):
        each = [_powers(b, a, name) for b, a in zip(before, after, strict=True)]
        return sum(one[0] for one in each), sum(one[1] for one in each)
    before, after = np.asarray(before), np.asarray(after)
    if before.shape != after.shape:
        raise ValueError(f"output `{name}` has the shape {after.shape}, not {before.shape}")
    if before.dtype.kind in "OSU":
        return float(before.size), float(np.sum(before != after))
    before, after = before.astype(np.float64), after.astype(np.float64)
    same = (before == after) | (np.isnan(before) & np.isnan(after))  # infinities too
    error = np.where(same, 0.0, before - np.where(same, 0.0, after))
    return float(np.sum(np.square(before[np.isfinite(before)]))), float(np.sum(np.square(error)))
