"""Tensors as engines need them."""

from __future__ import annotations

import numpy as np
import pytest

from core.formats.tensors import contiguous


@pytest.mark.parametrize(
    "view",
    [
        np.broadcast_to(np.float32([1, 2]), (3, 2)),
        np.arange(6, dtype=np.float32).reshape(2, 3).T,
        np.arange(6, dtype=np.float32)[::2],
        np.arange(6, dtype=np.float32)[::-1],
        np.asfortranarray(np.arange(6, dtype=np.float32).reshape(2, 3)),
    ],
    ids=["stride 0", "transposed", "every second", "backwards", "Fortran's order"],
)
def test_a_view_becomes_an_array_in_order(view: np.ndarray) -> None:
    """Values, shape and type stay; the memory has them in order, and is not the view's."""
    (got,) = contiguous({"x": view}).values()
    assert got.flags.c_contiguous
    assert got.flags.writeable
    assert (got.shape, got.dtype) == (view.shape, view.dtype)
    assert np.array_equal(got, view)


@pytest.mark.parametrize("shape", [(2, 3), (), (0, 3)])
def test_an_array_in_order_is_not_copied(shape: tuple[int, ...]) -> None:
    """The very same array is given on; a scalar keeps its shape."""
    array = np.zeros(shape, dtype=np.float32)
    assert contiguous({"x": array})["x"] is array
