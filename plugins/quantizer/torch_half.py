"""16-bit floating point of a torch program: bfloat16 or FP16, as PyTorch's autocast chooses."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING

from core import ArtifactSpec, Calibration, Library, Made, Quantizer, Work, hookimpl
from core.torch_program import load, pruned, quiet, zeros
from plugins.quantizer.torch_program import fold_constants, write

if TYPE_CHECKING:
    import torch

    from core import Artifact


class Half(Enum):
    """A float of 16 bits: its name, and what PyTorch calls it."""

    bf16 = "bfloat16"
    fp16 = "float16"


@dataclass
class TorchHalfOptions:
    """The options of 16-bit floating point in PyTorch."""

    dtype: Half = Half.bf16
    """bf16 (the range of FP32, 8 bits of mantissa) or fp16 (11 bits, overflows at 65,504)."""


class TorchHalf(Quantizer[TorchHalfOptions]):
    """Computes a torch program's products in 16 bits and stores their weights so."""

    name = "torch_half"
    accepts = frozenset({"torch_export"})
    Options = TorchHalfOptions
    libraries = (Library("torch", "pip install torch"),)

    def plan(self, spec: ArtifactSpec) -> ArtifactSpec:
        """Map a float program to one of 16 bits."""
        return ArtifactSpec(spec.format, self.options.dtype.name)

    def run(
        self,
        artifact: Artifact,
        calibration: Calibration,  # a float type needs none
        work: Work,
    ) -> Made:
        """Convert the program; inputs and outputs stay FP32, and so does what autocast keeps so.

        PyTorch decides per operator (`torch.autocast`): convolutions, products and attention take
        16 bits, and what follows one of them goes on in the type that reaches it.
        """
        import torch

        dtype = getattr(torch, self.options.dtype.value)
        work.progress(0, 2, "converting the operators")
        program = load(Path(artifact.path))
        arguments = zeros(program)
        with quiet(), torch.no_grad():
            cast = torch.export.export(_autocast(program, dtype), arguments)
            # Writes the casts out, operator by operator, and leaves all else as it is.
            module = cast.run_decompositions({}).module(check_guards=False)
        assert isinstance(module, torch.fx.GraphModule)
        fold_constants(module)
        work.progress(1, 2, "writing the program")
        return write(pruned(module), arguments, self.options.dtype.name, work, {})


def _autocast(program: torch.export.ExportedProgram, dtype: torch.dtype) -> torch.nn.Module:
    """Return a module that runs `program` under autocast and gives FP32."""
    import inspect

    import torch

    class Autocast(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = program.module(check_guards=False)

        def forward(self, *given: torch.Tensor) -> tuple[torch.Tensor, ...]:
            with torch.autocast("cpu", dtype):
                out = self.inner(*given)
            tensors = (out,) if isinstance(out, torch.Tensor) else out
            return tuple(tensor.float() for tensor in tensors)

    # The inputs of the new program are called as those of the old one.
    names = ("self", *program.graph_signature.user_inputs)
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    given = [inspect.Parameter(str(name), kind) for name in names]
    Autocast.forward.__signature__ = inspect.Signature(given)  # type: ignore[attr-defined]
    return Autocast()


@hookimpl
def luthier_plugins() -> list[type[TorchHalf]]:
    """Return the plugin of this file."""
    return [TorchHalf]
