"""Runs windows through whatever PyTorch can call: a module, a program, or what was compiled."""

from __future__ import annotations

import platform
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from core import ModelInfo, Session, StageError

if TYPE_CHECKING:
    from core import Fact
    from core.values import Tensors

__all__ = ["TorchSession"]

NOTHING: Mapping[str, Fact] = MappingProxyType({})


class TorchSession(Session):
    """The core of a model, opened.

    `how` says in words what plays it, `shapes` which inputs it takes, where it takes no others.
    """

    def __init__(
        self,
        core: Callable[..., Any],
        info: ModelInfo,
        threads: int,
        how: Sequence[str] = (),
        facts: Mapping[str, Fact] = NOTHING,
        shapes: Sequence[tuple[int, ...]] = (),
    ) -> None:
        import torch

        self.core, self.info, self.facts, self.shapes = core, info, facts, shapes
        version = torch.__version__.partition("+")[0]
        self.device = f"CPU ({', '.join((f'PyTorch {version}', platform.machine(), *how))})"
        # The number of threads belongs to the process, so what was there is put back.
        self._before = torch.get_num_threads()
        if threads:
            torch.set_num_threads(threads)

    def run(self, feeds: Tensors) -> Tensors:
        """Run the core on the inputs of its signature, each with its batch axis."""
        import torch

        missing = [name for name in self.info.core_inputs if name not in feeds]
        if missing:
            raise StageError(
                f"the model's core needs the input `{missing[0]}`, which the dsp does not give",
                f"the dsp gives: {', '.join(feeds) or 'nothing'}",
            )
        for name, shape in zip(self.info.core_inputs, self.shapes, strict=False):
            if feeds[name].shape != shape:
                raise StageError(
                    f"the program takes other windows than it is given: `{name}`",
                    f"it takes: {'×'.join(map(str, shape))}",
                    f"given: {'×'.join(map(str, feeds[name].shape))}",
                    "export it again for windows of this length",
                )
        with torch.no_grad():
            out = self.core(*(torch.from_numpy(feeds[name]) for name in self.info.core_inputs))
        tensors = (out,) if isinstance(out, torch.Tensor) else out
        return {n: t.numpy() for n, t in zip(self.info.core_outputs, tensors, strict=True)}

    def close(self) -> None:
        """Give the process its number of threads back."""
        import torch

        torch.set_num_threads(self._before)
