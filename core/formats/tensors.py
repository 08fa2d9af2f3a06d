"""Named tensors in memory and in a file, as safetensors; groups by a prefix of their names."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from core.plugin.values import Array, Tensors

__all__ = ["contiguous", "load", "opened", "save", "stacked", "under"]


def contiguous(tensors: Tensors) -> Tensors:
    """Return the same tensors, each C-contiguous; those that are so already are not copied.

    Engines read an array's memory as it lies. A view, such as one of `np.broadcast_to` (a stride of
    0), has a memory that differs from its values: some engines refuse it, others compute nonsense.
    """
    import numpy as np

    return {
        # `np.ascontiguousarray` would give a scalar an axis.
        name: array if array.flags.c_contiguous else np.array(array, order="C")
        for name, array in tensors.items()
    }


def save(tensors: Tensors, file: Path) -> None:
    """Write arrays to a safetensors file."""
    from safetensors.numpy import save_file

    save_file(dict(contiguous(tensors)), file)


def load(file: Path) -> Tensors:
    """Read what `save` wrote."""
    from safetensors.numpy import load_file

    tensors: Tensors = load_file(file)
    return tensors


def opened(file: Path) -> Any:
    """Open what `save` wrote without reading it: it has `keys()` and `get_tensor(name)`."""
    from safetensors import safe_open

    return safe_open(file, framework="np")


def under(tensors: Tensors, head: str) -> Tensors:
    """Return the tensors whose names begin with `head`, by what follows it."""
    return {name[len(head) :]: array for name, array in tensors.items() if name.startswith(head)}


def stacked(tensors: Sequence[Tensors], name: str) -> Array:
    """Return one named tensor of several windows as a flat array."""
    import numpy as np

    return np.concatenate([np.ravel(t[name]) for t in tensors])
