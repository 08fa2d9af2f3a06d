"""PyTorch's own results for a module: autocast, and torchao's own quantizer for x86."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
    from torch import nn

    from tools.coverage.case import Case

__all__ = ["TORCH_REFERENCES", "arrays", "computed", "lowered"]

Windows = Sequence[Mapping[str, Any]]
Calls = Callable[..., Any]


def arrays(names: Sequence[str], out: Any) -> dict[str, Any]:
    """Return the output of a module as arrays by name: a tensor, a sequence, or a mapping."""
    import torch

    if isinstance(out, Mapping):
        return {name: tensor.numpy() for name, tensor in out.items()}
    tensors = [out] if isinstance(out, torch.Tensor) else list(out)
    while len(tensors) == 1 and not isinstance(tensors[0], torch.Tensor):
        tensors = list(tensors[0])
    return {name: t.numpy() for name, t in zip(names, tensors, strict=True)}


def computed(case: Case, feeds: Mapping[str, Any]) -> dict[str, Any]:
    """Return the outputs of a module for one window.

    The module is fresh: a module that remembers its last call is no function of its inputs.
    """
    import torch

    with torch.no_grad():
        return arrays(case.outputs, case.make()(*_arguments(feeds)))


def _arguments(window: Mapping[str, Any]) -> tuple[torch.Tensor, ...]:
    import torch

    return tuple(torch.from_numpy(array) for array in window.values())


def _autocast(dtype: str) -> Calls:
    def made(module: nn.Module, _: Windows) -> Calls:
        import torch
        from torch.utils import _pytree

        def call(*given: torch.Tensor) -> Any:
            with torch.autocast("cpu", getattr(torch, dtype)):
                out = module(*given)
            return _pytree.tree_map(lambda t: t.float() if t.is_floating_point() else t, out)

        return call

    return made


def _integers(*, dynamic: bool) -> Calls:
    def made(module: nn.Module, calibration: Windows) -> Calls:
        import torch
        from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e
        from torchao.quantization.pt2e.quantizer import x86_inductor_quantizer as x86

        program = torch.export.export(module, _arguments(calibration[0])).module()
        config = x86.get_default_x86_inductor_quantization_config(is_dynamic=dynamic)
        prepared = prepare_pt2e(program, x86.X86InductorQuantizer().set_global(config))
        for window in calibration:
            prepared(*_arguments(window))
        return convert_pt2e(prepared)

    return made


#: The functions that make a module callable at another precision, by precision.
TORCH_REFERENCES: dict[str, Calls] = {
    "bf16": _autocast("bfloat16"),
    "torch_fp16": _autocast("float16"),
    "torch_int8": _integers(dynamic=False),
    "torch_dynamic": _integers(dynamic=True),
}


def lowered(
    module: nn.Module, precision: str, names: Sequence[str], calibration: Windows, tests: Windows
) -> list[dict[str, Any]]:
    """Return the outputs of `module` for `tests`, at a precision of PyTorch's own."""
    import torch

    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        call = TORCH_REFERENCES[precision](module, calibration)
        return [arrays(names, call(*_arguments(window))) for window in tests]
