"""Time folded into columns keeps every sample and every layer's result."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from plugins.model._hybrid.columns import columns_for, fold, joined, unfold
from plugins.model._hybrid.gates import Gate, apart

STRIDES = (4, 4, 4, 4)


@pytest.mark.parametrize(
    ("length", "columns"),
    [
        (45_056, 8),
        (90_112, 16),
        (344_064, 84),
        (11_264, 2),
        (61_440, 12),
        (44_100, 1),
        (343_980, 1),
        (4096, 1),
    ],
)
def test_a_length_of_whole_strides_is_folded(length: int, columns: int) -> None:
    """Lengths whose columns hold whole strides at every level are folded, others are not.

    At the deepest level, each column holds two blocks of rows.
    """
    assert columns_for(length, STRIDES) == columns
    assert length % (columns * 4**4) == 0 or columns == 1


@pytest.mark.parametrize("columns", [1, 2, 8])
def test_unfolding_is_the_inverse_of_folding(columns: int) -> None:
    """Columns hold consecutive samples, and unfolding reverses folding."""
    x = torch.arange(2 * 64.0).reshape(1, 2, 64)
    folded = fold(x, columns)
    assert folded.shape == (1, 2, 64 // columns, columns)
    assert folded[0, 0, 1, 0] == 1
    assert torch.equal(unfold(folded), x)


def layers(rows: int, columns: int) -> dict[str, tuple[nn.Module, nn.Module]]:
    """Return every layer that HTDemucs has along time, plain and for columns."""
    torch.manual_seed(0)
    size = (rows, columns)
    wide = nn.Conv2d(3, 8, (3, 1), padding=(1, 0))
    dilated = nn.Conv2d(3, 4, (3, 1), padding=(2, 0), dilation=(2, 1))
    strided = nn.Conv2d(3, 4, (8, 1), stride=(4, 1), padding=(2, 0))
    transposed = nn.ConvTranspose2d(3, 4, (8, 1), stride=(4, 1), padding=(2, 0))
    gate = Gate(wide)
    return {
        "gate": (gate, joined(gate, size, 1)),
        "dilated": (dilated, joined(dilated, size, 2)),
        "strided": (strided, joined(strided, size, 4, 4)),
        "transposed": (transposed, joined(transposed, size, 1)),
    }


@pytest.mark.parametrize("name", ["gate", "dilated", "strided", "transposed"])
@pytest.mark.parametrize(("rows", "columns"), [(16, 4), (1024, 2), (32, 1)])
def test_a_joined_layer_computes_what_it_does_on_unfolded_time(
    name: str, rows: int, columns: int
) -> None:
    """A joined layer on columns gives the plain layer's result on unfolded time.

    Columns are short, long with ends of whole blocks, or single.
    """
    plain, folded = layers(rows, columns)[name]
    x = torch.randn(1, 3, rows * columns)
    with torch.no_grad():
        expected = plain(x.unsqueeze(-1)).squeeze(-1)
        actual = unfold(folded(fold(x, columns)))
    torch.testing.assert_close(actual, expected, atol=1e-5, rtol=1e-5)


def test_a_gate_is_a_gated_linear_unit() -> None:
    """A gate gives the result of one convolution and a gated linear unit."""
    torch.manual_seed(0)
    conv = nn.Conv2d(6, 10, 1)
    x = torch.randn(1, 6, 5, 3)
    with torch.no_grad():
        torch.testing.assert_close(Gate(conv)(x), nn.functional.glu(conv(x), 1))


def test_keeping_apart_changes_nothing_that_fits_16_bits() -> None:
    """`apart` keeps values up to 59,999 and makes larger values fit FP16."""
    x = torch.tensor([-59_999.0, 0.0, 1.5, 59_999.0])
    assert torch.equal(apart(x), x)
    assert torch.isfinite(apart(torch.tensor([1e9])).half()).all()
