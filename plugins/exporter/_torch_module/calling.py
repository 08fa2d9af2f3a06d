"""Calls the core of a model: arrays by name in, arrays by name out, and nothing shared."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from core import Array, StageError, Tensors, TorchModel
from core.formats.torch_outputs import by_name

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch


__all__ = ["arguments_of", "as_arrays", "called", "is_plain", "ordered", "outputs_of"]


def arguments_of(model: TorchModel, feeds: Tensors) -> tuple[torch.Tensor, ...]:
    """Return the inputs of `model.core` in order, as copies: a module may write to its inputs.

    Raises StageError for an input that the dsp does not give.
    """
    import torch

    missing = [name for name in model.info.core_inputs if name not in feeds]
    if missing:
        raise StageError(
            f"the dsp gives no `{missing[0]}`, which the model's core takes",
            f"the core takes: {', '.join(model.info.core_inputs)}",
            f"the dsp gives: {', '.join(feeds) or 'nothing'}",
        )
    return tuple(torch.from_numpy(feeds[name].copy()) for name in model.info.core_inputs)


def called(model: TorchModel, feeds: Tensors) -> Any:
    """Return what `model.core` returns."""
    import torch

    with torch.no_grad():
        return model.core(*arguments_of(model, feeds))


def outputs_of(model: TorchModel, feeds: Tensors) -> dict[str, Array]:
    """Return the outputs of `model.core` by name; raises StageError when their number differs."""
    return as_arrays(model, called(model, feeds))


def as_arrays(model: TorchModel, returned: Any) -> dict[str, Array]:
    """Return a call's outputs as arrays by name, as copies: one may be the module's own buffer."""
    tensors = by_name(returned, model.info.core_outputs)
    return {name: tensor.detach().numpy().copy() for name, tensor in tensors.items()}


def is_plain(returned: Any) -> bool:
    """Return whether a module gives a tensor, or a flat row of them, as every tracer expects."""
    import torch

    side_by_side = isinstance(returned, list | tuple)
    return torch.is_tensor(returned) or (side_by_side and all(map(torch.is_tensor, returned)))


def ordered(model: TorchModel) -> TorchModel:
    """Return the model with a core that gives its outputs in the order of their names.

    A tracer writes the outputs of a dict in the dict's order, and so under the names of other
    outputs.
    """
    return replace(model, core=_in_order(model.core, model.info.core_outputs))


def _in_order(core: torch.nn.Module, names: Sequence[str]) -> torch.nn.Module:
    import torch

    class InOrder(torch.nn.Module):
        """A module whose outputs are put in order."""

        def __init__(self) -> None:
            super().__init__()
            self.core = core

        def forward(self, *inputs: torch.Tensor) -> tuple[torch.Tensor, ...]:
            """Run the module."""
            return tuple(by_name(self.core(*inputs), names).values())

    return InOrder().train(core.training)
