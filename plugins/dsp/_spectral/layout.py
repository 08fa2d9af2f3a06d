"""The facts that both graphs need: sizes, names of tensors and the options of the transform."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from plugins.dsp._spectral.factors import Factors, factors

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["STATISTICS", "Layout"]

#: The values of a window that the inverse needs, in the order in which the graphs name them.
STATISTICS = ("mix_mean", "mix_std", "mag_mean", "mag_std")


@dataclass(frozen=True)
class Layout:
    """One window of one model: `stems` × `channels` × `length` samples; the options of `stft`.

    `window` and `result` are the names of the waveforms outside, the others those of the core.
    """

    nfft: int
    length: int
    channels: int
    stems: int
    normalise: bool
    keep_nyquist: bool
    whole_edges: bool
    window: str
    result: str
    mix: str
    mag: str
    time_out: str
    spec_out: str

    @property
    def hop(self) -> int:
        """Return the samples from one frame to the next."""
        return self.nfft // 4

    @property
    def frames(self) -> int:
        """Return the number of frames of a window."""
        return math.ceil(self.length / self.hop)

    @property
    def bins(self) -> int:
        """Return the number of bins that the core sees."""
        return self.nfft // 2 + self.keep_nyquist

    @cached_property
    def factors(self) -> Factors:
        """Return the DFT of a frame in factors."""
        return factors(self.nfft, self.hop, self.keep_nyquist)

    @property
    def hop_rows(self) -> int:
        """Return how many of a frame's rows one hop has."""
        return self.factors.rows // 4

    @property
    def statistics(self) -> dict[str, tuple[int, ...]]:
        """Return the numbers that the inverse needs, with their shape: none without `normalise`."""
        return dict.fromkeys(STATISTICS, ()) if self.normalise else {}

    @property
    def core_inputs(self) -> dict[str, tuple[int, ...]]:
        """Return the core's inputs with their shapes."""
        mag = (1, 2 * self.channels, self.bins, self.frames)
        return {self.mix: (1, self.channels, self.length), self.mag: mag}

    @property
    def core_outputs(self) -> dict[str, tuple[int, ...]]:
        """Return the core's outputs with their shapes."""
        time = (1, self.stems, self.channels, self.length)
        spec = (1, self.stems, 2 * self.channels, self.bins, self.frames)
        return {self.time_out: time, self.spec_out: spec}

    def transposed(self, frame: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return values per sample of a frame, or of a hop, (..., n) as (..., b, a)."""
        folded = frame.reshape(*frame.shape[:-1], -1, self.factors.columns)
        turned: NDArray[np.float32] = folded.swapaxes(-1, -2)
        return turned
