"""Converts sound from any sample rate to any other, at a bounded cost for every pair of rates.

One low-pass filter, applied in two ways. Where both rates are small multiples of a common one, a
polyphase filter. For all others, 767,999 Hz to 44,100 Hz say, it would have 147 million taps: there
the filter is applied to the spectrum, block by block. Whole seconds are whole samples of both
rates, so that blocks of whole seconds meet without a seam, and neither pitch nor length drifts.
"""

from __future__ import annotations

import functools
from math import gcd
from typing import TYPE_CHECKING

from core import Array

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


__all__ = ["resample"]

#: Half the filter's length in samples of the lower rate. With a Kaiser window of beta 10 the
#: stop band lies 100 dB down, and the pass band ends at 93 % of the lower Nyquist frequency.
_REACH = 96
_BETA = 10.06
_CUTOFF = 0.967
#: The most steps between two samples of the lower rate for a polyphase filter, of 6 MB then. Every
#: usual pair has fewer: 2,560 from 768,000 to 44,100 Hz.
_STEPS = 4096


def resample(samples: Array, old: int, new: int) -> Array:
    """Return (channel, time) at `new` Hz, ceil(time · new / old) samples long.

    scipy's own filter is shorter, and its stop band at 50 dB would let audible aliases through.
    """
    if old == new:
        return samples
    common = gcd(old, new)
    up, down = new // common, old // common
    if max(up, down) > _STEPS:
        return _by_spectrum(samples, old, new)
    return _polyphase(samples, up, down)


def _polyphase(samples: Array, up: int, down: int) -> Array:
    import numpy as np
    from scipy.signal import resample_poly

    result = resample_poly(samples, up, down, axis=-1, window=_filter(max(up, down)))
    return np.asarray(result, np.float32)


@functools.lru_cache(maxsize=2)
def _filter(steps: int) -> NDArray[np.float32]:
    """Return a low-pass for `steps` times the lower rate, gain 1 at 0 Hz."""
    import numpy as np
    from scipy.signal import firwin

    taps = firwin(2 * _REACH * steps + 1, _CUTOFF / steps, window=("kaiser", _BETA))
    return np.asarray(taps, np.float32)


def _by_spectrum(samples: Array, old: int, new: int) -> Array:
    """Resample by any ratio; takes the memory of one block's spectrum, some 200 MB at most.

    Only the middle third of a block is kept. The outer thirds are longer than the filter's reach,
    so that no wrapped samples of a spectrum get there.
    """
    import numpy as np
    from scipy.fft import irfft, rfft

    low = min(old, new)
    seconds = -(-2 * _REACH // low)  # 1, but for rates below 192 Hz
    hop, made = seconds * old, seconds * new
    response = _response(3 * seconds * low // 2 + 1) * np.float32(new / old)
    length = -(-samples.shape[-1] * new // old)
    result = np.empty((*samples.shape[:-1], length), np.float32)
    for given, taken in zip(_rows(samples), _rows(result), strict=True):
        for number, start in enumerate(range(0, length, made)):
            first = (number - 1) * hop
            inside = given[max(0, first) : first + 3 * hop]
            block = np.zeros(3 * hop, np.float32)
            block[max(0, -first) :][: len(inside)] = inside
            spectrum = rfft(block)[: len(response)] * response
            place = taken[start : start + made]
            place[:] = irfft(spectrum, 3 * made)[made : made + len(place)]
    return result


def _rows(samples: Array) -> Array:
    """Return a view of (channel, time), whatever axes lie before `time`."""
    return samples.reshape(-1, samples.shape[-1])


@functools.lru_cache(maxsize=2)
def _response(bins: int) -> NDArray[np.float32]:
    """Return the gain of the low-pass at `bins` frequencies, from 0 to the lower Nyquist frequency.

    A Kaiser window turns a sharp edge into the integral of its spectrum (Kaiser 1974,
    "Nonrecursive digital filter design using the I0-sinh window function"), here of its main lobe.
    """
    import numpy as np

    edge = np.hypot(_BETA, np.pi) / (2 * np.pi * _REACH)  # half of the main lobe, in cycles
    away = np.linspace(-edge, edge, 4001)
    root = _BETA**2 - (2 * np.pi * _REACH * away) ** 2
    size = np.sqrt(np.abs(root)) + 1e-12
    lobe = np.where(root > 0, np.sinh(size), np.sin(size)) / size
    falling = 1 - np.cumsum(lobe) / np.sum(lobe)
    frequencies = np.linspace(0, 0.5, bins) - _CUTOFF / 2
    return np.interp(frequencies, away, falling, left=1, right=0).astype(np.float32)
