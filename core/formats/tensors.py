"""Named tensors in a file, as safetensors, and groups of them by a prefix of their names."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from core.plugin.values import Array, Tensors

__all__ = ["load", "save", "stacked", "under"]


def save(tensors: Tensors, file: Path) -> None:
    """Write arrays to a safetensors file."""
    import numpy as np
    from safetensors.numpy import save_file

    save_file({name: np.ascontiguousarray(array) for name, array in tensors.items()}, file)


def load(file: Path) -> Tensors:
    """Read what `save` wrote."""
    from safetensors.numpy import load_file

    tensors: Tensors = load_file(file)
    return tensors


def under(tensors: Tensors, head: str) -> Tensors:
    """Return the tensors whose names begin with `head`, by what follows it."""
    return {name[len(head) :]: array for name, array in tensors.items() if name.startswith(head)}


def stacked(tensors: Sequence[Tensors], name: str) -> Array:
    """Return one named tensor of several windows as a flat array."""
    import numpy as np

    return np.concatenate([np.ravel(t[name]) for t in tensors])
