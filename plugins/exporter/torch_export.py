"""Exports to PyTorch's own graphs (`torch.export`), which PyTorch itself quantises and plays."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from core import ArtifactSpec, Exporter, Library, Made, StageError, TorchModel, Work, hookimpl
from core.torch_program import describe, load, pruned, quiet, save
from plugins.exporter.graph_file import arguments_of, check_same, torch_outputs
from plugins.exporter.norms import fold_batch_norms

if TYPE_CHECKING:
    from pathlib import Path

    import torch

    from core.values import Tensors


@dataclass
class TorchExportOptions:
    """The options of the exporter to torch programs."""

    fold_batch_norms: bool = True
    """Fold batch norms into the convolutions before them: the same result with fewer operators."""
    verify: bool = True
    """Run the program on the example inputs and compare it with the module."""
    tolerance_db: float = 80.0
    """Lowest signal-to-noise ratio against the module, in dB, that counts as the same result."""


class TorchExport(Exporter[TorchExportOptions]):
    """Exports to a program of PyTorch's own operators (.pt2), for the runtime `torch`."""

    name = "torch_export"
    Options = TorchExportOptions
    libraries = (Library("torch", "pip install torch"),)

    def plan(self, spec: ArtifactSpec) -> ArtifactSpec:
        """Map a torch module to a program of the same precision."""
        return ArtifactSpec("torch_export", spec.precision)

    def run(self, model: TorchModel, feeds: Tensors, work: Work) -> Made:
        """Export `model.core` for `feeds` (one array with a batch axis of 1 per core input).

        Raises StageError when the module cannot be captured as one graph, or when the program's
        outputs are further from the module's than `tolerance_db`.
        """
        arguments = arguments_of(model, feeds)
        work.progress(0, 3, "reading the module's code")
        program, folded = self._captured(model, arguments)
        work.progress(1, 3, "writing the program")
        path = work.folder / "model.pt2"
        save(program, path)
        facts = describe(program)
        facts["folded_batch_norms"] = folded
        if self.options.verify:
            work.progress(2, 3, "comparing the program with the module")
            expected = torch_outputs(model, feeds)
            actual = _outputs(path, model, arguments)
            tolerance_db = self.options.tolerance_db
            facts["verify_snr_db"] = check_same(expected, actual, "the program", tolerance_db)
        work.progress(3, 3)
        return Made(path, "torch_export", "fp32", facts)

    def _captured(
        self, model: TorchModel, arguments: tuple[torch.Tensor, ...]
    ) -> tuple[torch.export.ExportedProgram, int]:
        """Return the program, and how many batch norms were folded."""
        import torch

        try:
            with quiet(), torch.no_grad():
                program = torch.export.export(model.core, arguments)
                if not self.options.fold_batch_norms:
                    return program, 0
                module = program.module(check_guards=False)
                assert isinstance(module, torch.fx.GraphModule)
                folded = fold_batch_norms(module)
                if not folded:
                    return program, 0
                return torch.export.export(pruned(module), arguments), folded
        except Exception as error:  # torch.export raises a class per reason, with no common base
            lines = [line.strip() for line in str(error).splitlines() if line.strip()]
            raise StageError(
                f"exporter `{self.name}` cannot export the model: {type(error).__name__}",
                lines[0][:200] if lines else "",
                "a branch on values and calls out of PyTorch cannot be captured",
                "play the module itself (exporter=none runtime=torch), or try exporter=onnx",
                "see the whole trace: hydra.verbose=true",
            ) from error


def _outputs(path: Path, model: TorchModel, arguments: tuple[torch.Tensor, ...]) -> Tensors:
    """Return what the written program computes."""
    import torch

    with torch.no_grad():
        out = load(path).module()(*arguments)
    tensors = (out,) if isinstance(out, torch.Tensor) else out
    return {n: t.numpy() for n, t in zip(model.info.core_outputs, tensors, strict=True)}


@hookimpl
def luthier_plugins() -> list[type[TorchExport]]:
    """Return the plugin of this file."""
    return [TorchExport]
