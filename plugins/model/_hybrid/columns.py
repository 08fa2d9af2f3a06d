"""The waveform of an NPU core, folded into columns: no block of the NPU's memory is padding.

The HTP keeps a tensor in blocks of 8 rows, 4 columns and 32 channels. A waveform as `(1, channel,
time, 1)` fills one column of four. Here sample `t` lies at row `t % rows` of column `t // rows`:
`(1, channel, rows, columns)`. A convolution also reads rows of the neighbouring columns, which
`Joined` provides.

Measured on the residual and the gated rewrite of the first time encoder (full size, QNN 2.51,
finalisation mode 1): 11 s to compile at 11,025 steps unfolded, 0.5 s folded in 4 to 32 columns;
0.6 s at 86,016 steps (7.8 s of music) in 64.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["columns_for", "fold", "joined", "unfold"]

#: Rows and columns of a block of the NPU's memory.
_BLOCK, _WIDTH = 8, 4
#: The fewest rows that a column keeps at the deepest level, and the blocks of a long column.
_ROWS, _LONG = 2 * _BLOCK, 32


def columns_for(length: int, strides: Sequence[int]) -> int:
    """Return how many columns `length` samples are folded into; 1 for none.

    A column holds whole strides at every level, so that none of them needs padding of its own:
    demucs pads a level's *end*, and a column has no end. The largest possible number of columns is
    best, in whole blocks: 45,056 samples take 8, 90,112 take 16, 344,064 take 84, all a multiple
    of 4,096. 44,100 samples are not whole strides, and take 1.
    """
    rows = length
    for stride in strides:
        if rows % stride:
            return 1
        rows //= stride
    possible = [n for n in range(1, rows // _ROWS + 1) if rows % n == 0]
    return max(possible, key=lambda n: (n % _WIDTH == 0, n), default=1)


def fold(x: Tensor, columns: int) -> Tensor:
    """Map `(1, channel, time)` to `(1, channel, time / columns, columns)`."""
    if columns == 1:
        return x.unsqueeze(-1)
    return x.reshape(1, x.shape[1], columns, -1).transpose(2, 3)


def unfold(x: Tensor) -> Tensor:
    """Map `(1, channel, rows, columns)` to `(1, channel, rows * columns)`."""
    return x.transpose(2, 3).reshape(1, x.shape[1], -1)


class Joined(nn.Module):
    """A layer along folded time that computes the ends of every column with its neighbours' rows.

    The ends are computed apart and replace those that saw zeros, a block of 8 rows at a time.
    Without whole blocks everything between them would shift by a part of one, for which the HTP's
    compiler finds no memory above some 4 MB (QNN error 1002, at any number of columns).
    """

    def __init__(self, layer: nn.Module, unit: int) -> None:
        """Take a `layer` that pads with zeros, and reaches less than `unit` rows to either side.

        `unit` is whole strides of the layer.
        """
        super().__init__()
        self.layer, self.unit = layer, unit

    def forward(self, x: Tensor) -> Tensor:
        """Compute `(1, channel, rows, columns)`."""
        unit, columns = self.unit, x.shape[3]
        # Zeros before the first column and after the last, as the layer itself has them.
        before = functional.pad(x[:, :, -unit:, :-1], (1, 0))
        after = functional.pad(x[:, :, :unit, 1:], (0, 1))
        tops = torch.cat([before, x[:, :, : 2 * unit]], 2)
        bottoms = torch.cat([x[:, :, -2 * unit :], after], 2)
        # Of three units the middle one is right: no zeros were within its reach.
        ends = self.layer(torch.cat([tops, bottoms], 3)).chunk(3, dim=2)[1]
        rows = ends.shape[2]
        inner = self.layer(x)[:, :, rows:-rows]
        return torch.cat([ends[..., :columns], inner, ends[..., columns:]], 2)


def joined(layer: nn.Module, size: tuple[int, int], reach: int, stride: int = 1) -> nn.Module:
    """Return `layer` for an input of `size` (rows, columns); see `Joined`.

    `stride` is that of the layer, and `reach` a multiple of it.
    """
    rows, columns = size
    if columns == 1:
        return layer
    # The ends are computed with three units each: short columns are small, and fit anyhow.
    blocks = _BLOCK * stride
    return Joined(layer, blocks if rows >= _LONG * blocks else reach)
