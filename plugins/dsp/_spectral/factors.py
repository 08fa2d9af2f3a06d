"""The DFT of a frame as two short matrix products with a twiddle between them (Cooley and Tukey).

With N = A · B, sample n = B·a + b and bin k = k1 + A·k2,

    X[k] = Σ_b W_B^(b·k2) · W_N^(b·k1) · Σ_a W_A^(a·k1) · x[n],    W_M = exp(-2πi / M).

A graph needs no DFT operator for it, which few execution providers have, and no N × N matrix: for
N = 4096 the factors hold 50 kB instead of 67 MB. A frame is held transposed, `(b, a)`, because then
every product but one has its constant on the right, where runtimes multiply fastest.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Factors", "factors"]


@dataclass(frozen=True)
class Factors:
    """The float32 factors of the DFT of N = rows · columns real samples, for bins below N / 2.

    `rows` is A, `columns` is B, `bands` the number of k2; the complex parts of a matrix lie side
    by side, real ones first.
    """

    rows: int
    columns: int
    bands: int

    @property
    def nfft(self) -> int:
        """Return N."""
        return self.rows * self.columns

    def first(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return W_A^(a·k1), real and imaginary: (rows, rows) each."""
        turn = _turn(np.outer(np.arange(self.rows), np.arange(self.rows)), self.rows)
        return turn.real.astype(np.float32), turn.imag.astype(np.float32)

    def twiddle(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return W_N^(b·k1), real and imaginary: (columns, rows) each."""
        turn = _turn(np.outer(np.arange(self.columns), np.arange(self.rows)), self.nfft)
        return turn.real.astype(np.float32), turn.imag.astype(np.float32)

    def second(self) -> NDArray[np.float32]:
        """Return W_B^(b·k2) as a real matrix (2 · bands, 2 · columns) for [real; imaginary]."""
        turn = _turn(np.outer(np.arange(self.bands), np.arange(self.columns)), self.columns)
        return np.block([[turn.real, -turn.imag], [turn.imag, turn.real]]).astype(np.float32)

    def second_back(self) -> NDArray[np.float32]:
        """Return 2 / N · conj(W_B^(b·k2)) as a real matrix (2 · columns, 2 · bands).

        The 2 stands for the bins above N / 2, which mirror those below.
        """
        turn = _turn(np.outer(np.arange(self.columns), np.arange(self.bands)), self.columns).conj()
        turn = turn * (2 / self.nfft)
        return np.block([[turn.real, -turn.imag], [turn.imag, turn.real]]).astype(np.float32)

    def first_back(self) -> NDArray[np.float32]:
        """Return Re(conj(W_A^(a·k1)) · y) as a real matrix (2 · rows, rows) for [Re y | Im y]."""
        turn = _turn(np.outer(np.arange(self.rows), np.arange(self.rows)), self.rows)
        return np.concatenate([turn.real, turn.imag]).astype(np.float32)


def factors(nfft: int, hop: int, keep_nyquist: bool) -> Factors:
    """Return the factors of `nfft` that need the fewest products; `columns` divides the hop.

    `hop` is even, so that there is an even `columns` and the bins below N / 2 are whole bands.
    """
    columns = min(
        (b for b in range(2, hop + 1, 2) if hop % b == 0), key=lambda b: (b + nfft // b, b)
    )
    return Factors(nfft // columns, columns, columns // 2 + keep_nyquist)


def _turn(power: NDArray[np.int64], size: int) -> NDArray[np.complex128]:
    """Return exp(-2πi · power / size), the power taken modulo first so that no digit is lost."""
    angle = -2 * math.pi * (power % size) / size
    turn: NDArray[np.complex128] = np.cos(angle) + 1j * np.sin(angle)
    return turn
