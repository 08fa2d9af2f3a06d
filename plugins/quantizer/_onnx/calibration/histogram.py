"""A histogram of a stream of values whose range is not known beforehand."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["BINS", "Histogram"]

#: Bins on both sides of zero together. Values reach at least halfway out on one side, so the step
#: of an 8-bit range covers 4 of them or more.
BINS = 4096
#: Edge of the histogram of a tensor that was zero so far.
SMALLEST = 2.0**-100


class Histogram:
    """Counts values in equal bins over ±`edge`; the edge doubles whenever a value lies outside.

    Two bins then become one, so nothing that was counted is lost, nothing is counted twice, and
    memory stays the same however loud the stream becomes.
    """

    def __init__(self) -> None:
        import numpy as np

        self.edge = 0.0
        self._squares, self._values = 0.0, 0
        self.counts: NDArray[np.int64] = np.zeros(BINS, np.int64)

    def add(self, values: NDArray[np.float32]) -> None:
        """Count finite `values`, of shape (values,)."""
        import numpy as np

        if not values.size:
            return
        self._reach(float(max(values.max(), -values.min())))
        self._squares += float(np.square(values, dtype=np.float64).sum())
        self._values += values.size
        # In FP32: a value at the border of two bins may fall into either.
        places = values * np.float32(BINS / 2 / self.edge)
        places += np.float32(BINS // 2)
        places = np.clip(places, 0, BINS - 1, out=places).astype(np.int32)
        self.counts += np.bincount(places, minlength=BINS)

    def _reach(self, magnitude: float) -> None:
        if not self.edge:
            self.edge = max(magnitude, SMALLEST)
        while magnitude > self.edge:
            quarter = BINS // 4
            pairs = self.counts.reshape(-1, 2).sum(axis=1)
            self.counts[:] = 0
            self.counts[quarter:-quarter] = pairs
            self.edge *= 2

    @property
    def mean_square(self) -> float:
        """Return the mean of the squares of all values, 0 where there are none."""
        return self._squares / self._values if self._values else 0.0

    @property
    def width(self) -> float:
        """Return the width of a bin."""
        return 2 * self.edge / BINS

    @property
    def centres(self) -> NDArray[np.float64]:
        """Return the middle of every bin, of shape (bins,)."""
        import numpy as np

        return np.linspace(-self.edge, self.edge, 2 * BINS + 1)[1::2]
