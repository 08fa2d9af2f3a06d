"""Runs windows through anything that PyTorch can call: a module, a program, a compiled one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from enum import Enum
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Self

from core import Array, Fact, ModelInfo, Placement, Session, StageError, Tensors
from core.formats.torch_outputs import by_name
from plugins.runtime._torch_kernels.devices import Device, Half, label

if TYPE_CHECKING:
    import torch

    from plugins.runtime._torch_kernels.halves import InFloats

__all__ = ["TorchSession", "Widened"]

NOTHING: Mapping[str, Fact] = MappingProxyType({})


class Widened(Enum):
    """Whether products of 16 bits compute in FP32, and whether the recipe asks for it."""

    no = 0
    asked = 1
    unasked = 2


class TorchSession(Session):
    """The core of a model, opened on a device.

    `asked` is the device that the recipe says. `how` says in words what runs the core; `takes` are
    tensors of the shapes and types of its inputs, where it accepts no others. With `autocast`,
    PyTorch chooses operators that compute in 16 bits. With `widened`, products of 16 bits compute
    in FP32 and are rounded; it says whether the recipe asks for this. `floats` are the operators,
    by name and kind, that should compute on integers and compute in floats. A `compiled` core calls
    kernels of the compiler's own in the place of operators.
    """

    def __init__(
        self,
        core: Callable[..., Any],
        info: ModelInfo,
        *,
        threads: int = 0,
        device: Device = Device.cpu,
        asked: Device = Device.cpu,
        how: Sequence[str] = (),
        facts: Mapping[str, Fact] = NOTHING,
        takes: Sequence[torch.Tensor] = (),
        autocast: Half | None = None,
        widened: Widened = Widened.no,
        floats: Sequence[tuple[str, str]] = (),
        compiled: bool = False,
    ) -> None:
        import torch

        self.core, self.info, self.facts, self.takes = core, info, facts, takes
        self.floats, self.compiled, self._widened = floats, compiled, widened
        self._device, self._asked = device, asked
        self._in_floats: InFloats | None = None
        if widened is not Widened.no:
            from plugins.runtime._torch_kernels.halves import InFloats

            self._in_floats = InFloats()
        self._dtype = getattr(torch, autocast.value) if autocast else None
        self.device = label(device, how)
        # These belong to the process, so the former values are restored.
        self._before = torch.get_num_threads(), torch.backends.cudnn.allow_tf32
        if threads:
            torch.set_num_threads(threads)
        # By default, cuDNN rounds the inputs of convolutions in FP32 to 11 bits.
        torch.backends.cudnn.allow_tf32 = False

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
        place = self._device.name
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
        outputs = by_name(self.call(*(one.to(place) for one in given)), self.info.core_outputs)
        # Autocast leaves an output in 16 bits where the module gives 32.
        wide = {n: t.float() if t.dtype is self._dtype else t for n, t in outputs.items()}
        return {name: _array(tensor) for name, tensor in wide.items()}

    def call(self, *given: torch.Tensor) -> Any:
        """Call the core on tensors that are on the device, as the options say."""
        import torch

        with torch.no_grad(), ExitStack() as stack:
            if self._dtype is not None:
                stack.enter_context(torch.autocast(self._device.name, self._dtype))
            if self._in_floats is not None:
                stack.enter_context(self._in_floats)
            return self.core(*given)

    def warm(self, windows: int) -> Self:
        """Run windows of zeros, of the shapes that the core takes; closes itself if one fails."""
        try:
            for _ in range(windows):
                self.call(*(tensor.to(self._device.name) for tensor in self.takes))
        except BaseException:
            self.close()
            raise
        return self

    def placement(self, feeds: Tensors) -> Placement | None:
        """Return what computed each operator or kernel, from one more window."""
        from plugins.runtime._torch_kernels.kernel_trace import kernels_of
        from plugins.runtime._torch_kernels.placement import operators_of

        def window() -> object:
            return self.run(feeds)

        if self.compiled:
            return kernels_of(window, self._device, self._asked, self.floats)
        told = self._in_floats if self._widened is Widened.unasked else None
        counted = None if told is None else told.counted
        return operators_of(window, self.floats, self._asked, counted)

    def close(self) -> None:
        """Restore what belongs to the process."""
        import torch

        threads, torch.backends.cudnn.allow_tf32 = self._before
        torch.set_num_threads(threads)


def _described(tensor: torch.Tensor) -> str:
    shape = "×".join(map(str, tensor.shape)) or "scalar"
    return f"{shape} {str(tensor.dtype).removeprefix('torch.')}"


def _array(tensor: torch.Tensor) -> Array:
    """Return a tensor as an array; bfloat16, which NumPy lacks, as float32."""
    import torch

    if tensor.dtype is torch.bfloat16:
        tensor = tensor.float()
    return tensor.detach().cpu().numpy()
