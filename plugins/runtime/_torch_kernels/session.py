"""Runs windows through anything that PyTorch can call: a module, a program, a compiled one."""

from __future__ import annotations

import platform
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from core import Array, Fact, ModelInfo, Placement, Session, StageError, Tensors
from core.formats.torch_outputs import by_name

if TYPE_CHECKING:
    import torch


__all__ = ["TorchSession"]

NOTHING: Mapping[str, Fact] = MappingProxyType({})


class TorchSession(Session):
    """The core of a model, opened.

    `how` says in words what runs it; `takes` are tensors of the shapes and types of its inputs,
    where it accepts no others. `floats` are the operators, by name and kind, that should compute on
    integers and compute in floats. A session is `traceable` unless a compiler replaced its
    operators by kernels of its own.
    """

    def __init__(
        self,
        core: Callable[..., Any],
        info: ModelInfo,
        threads: int,
        how: Sequence[str] = (),
        facts: Mapping[str, Fact] = NOTHING,
        takes: Sequence[torch.Tensor] = (),
        floats: Sequence[tuple[str, str]] = (),
        *,
        traceable: bool = True,
    ) -> None:
        import torch

        self.core, self.info, self.facts, self.takes = core, info, facts, takes
        self.floats, self.traceable = floats, traceable
        version = torch.__version__.partition("+")[0]
        self.device = f"CPU ({', '.join((f'PyTorch {version}', platform.machine(), *how))})"
        # The number of threads belongs to the process, so the former one is restored.
        self._before = torch.get_num_threads()
        if threads:
            torch.set_num_threads(threads)

    def run(self, feeds: Tensors) -> Tensors:
        """Run the core on the inputs of its signature, each with its batch axis.

        The outputs share no memory with the inputs. Raises StageError for an input that is missing,
        or of another shape or type than the program takes.
        """
        import torch

        missing = [name for name in self.info.core_inputs if name not in feeds]
        if missing:
            raise StageError(
                f"the model's core needs the input `{missing[0]}`, which the dsp does not give",
                f"the dsp gives: {', '.join(feeds) or 'nothing'}",
            )
        # Copies: a module may write into its inputs, or return one of them.
        given = [torch.from_numpy(feeds[name].copy()) for name in self.info.core_inputs]
        for name, tensor, taken in zip(self.info.core_inputs, given, self.takes, strict=False):
            if tensor.shape != taken.shape or tensor.dtype is not taken.dtype:
                raise StageError(
                    f"the given windows do not fit the program: `{name}`",
                    f"it takes: {_described(taken)}",
                    f"given: {_described(tensor)}",
                    "export it again for windows of this length"
                    if tensor.dtype is taken.dtype
                    else "give the input the type that the model's signature declares: "
                    "`TensorSpec(dtype=...)`",
                )
        with torch.no_grad():
            outputs = by_name(self.core(*given), self.info.core_outputs)
        return {name: _array(tensor) for name, tensor in outputs.items()}

    def placement(self, feeds: Tensors) -> Placement | None:
        """Return what computed each operator, from one more window; None for a compiled program."""
        from plugins.runtime._torch_kernels.placement import operators_of

        return operators_of(lambda: self.run(feeds), self.floats) if self.traceable else None

    def close(self) -> None:
        """Restore the process's number of threads."""
        import torch

        torch.set_num_threads(self._before)


def _described(tensor: torch.Tensor) -> str:
    shape = "×".join(map(str, tensor.shape)) or "scalar"
    return f"{shape} {str(tensor.dtype).removeprefix('torch.')}"


def _array(tensor: torch.Tensor) -> Array:
    """Return a tensor as an array; bfloat16, which NumPy lacks, as float32."""
    import torch

    if tensor.dtype is torch.bfloat16:
        tensor = tensor.float()
    return tensor.detach().numpy()
