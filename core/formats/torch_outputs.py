"""Names the tensors that a torch module or program gives: one, several in order, or by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from core.errors import StageError

if TYPE_CHECKING:
    import torch

__all__ = ["by_name"]


def by_name(given: object, names: Sequence[str]) -> dict[str, torch.Tensor]:
    """Return the tensors that a module gave, by the names of the model's signature.

    A mapping (a dict, or an output class of the library transformers) is read by its own names,
    and may hold more than is asked for; a tensor or a sequence is read in order. Raises StageError
    for a wrong number of outputs, a name that a mapping lacks, and an output that is no tensor.
    """
    import torch

    if isinstance(given, Mapping):
        missing = [name for name in names if name not in given]
        if missing:
            raise StageError(
                f"the model's core gives no output `{missing[0]}`, which its signature names",
                f"it gives: {', '.join(map(str, given)) or 'nothing'}",
                f"the signature names: {', '.join(names)}",
                "name the outputs in the model's plugin as its module does: core_outputs",
            )
        tensors = [given[name] for name in names]
    else:
        tensors = [given] if isinstance(given, torch.Tensor) else list(_sequence(given))
    if len(tensors) != len(names):
        raise StageError(
            f"the model's core gives {len(tensors)} output(s), but names {len(names)}",
            f"names: {', '.join(names)}",
        )
    for name, tensor in zip(names, tensors, strict=True):
        if not isinstance(tensor, torch.Tensor):
            raise StageError(
                f"the model's core gives {_kind(tensor)} as output `{name}`, not a tensor",
                "a graph gives a flat list of tensors",
                "wrap the module in one whose forward returns a tuple, or a dict, of its tensors",
            )
    return dict(zip(names, tensors, strict=True))


def _sequence(given: object) -> Sequence[object]:
    return given if isinstance(given, Sequence) and not isinstance(given, str) else [given]


def _kind(given: object) -> str:
    """Return the type of an output in words: `a list`, `nothing`."""
    return "nothing" if given is None else f"a {type(given).__name__}"
