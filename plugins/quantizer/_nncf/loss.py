"""The loss of a quantised graph in one number: the SNR at its worst output."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from core.measure.metrics import snr_of_powers
from plugins.quantizer._onnx.graph.powers import powers

__all__ = ["worst_db"]

#: The least power that an output counts with, relative to the loudest: 60 dB below it.
QUIET = 1e-6


def worst_db(expected: Sequence[Sequence[Any]], got: Sequence[Sequence[Any]]) -> float:
    """Return the lowest SNR of any output in dB, over several windows taken as one signal.

    `expected` and `got` hold the outputs of every window, in the graph's order. An output that
    happens to be silent has no SNR of its own: it counts as a quiet one.
    """
    signals = [0.0] * len(expected[0])
    noises = list(signals)
    for one, other in zip(expected, got, strict=True):
        for place, pair in enumerate(zip(one, other, strict=True)):
            signal, noise = powers(*pair)
            signals[place] += signal
            noises[place] += noise
    least = max(QUIET * max(signals), 1e-30)
    return min(
        snr_of_powers(max(signal, least), noise)
        for signal, noise in zip(signals, noises, strict=True)
    )
