"""Exports to PyTorch's own graphs (`torch.export`), which PyTorch itself quantises and plays."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from core import (
    ArtifactSpec,
    Exporter,
    Requirement,
    StageContext,
    StageError,
    StageResult,
    Tensors,
    TorchModel,
    hookimpl,
)
from core.formats.torch_export import describe, functional, load, pruned, save
from plugins.exporter._batch_norms import fold_batch_norms
from plugins.exporter._onnx import check_same, verify_others
from plugins.exporter._torch_module import (
    arguments_of,
    expected_of,
    fresh,
    heard,
    outputs_of,
    untraceable,
)

if TYPE_CHECKING:
    from pathlib import Path

    import torch


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
    libraries = (Requirement("torch", "pip install torch"),)

    def plan(self, spec: ArtifactSpec) -> ArtifactSpec:
        """Map a torch module to a program of the same precision."""
        return ArtifactSpec("torch_export", spec.precision)

    def run(self, model: TorchModel, feeds: Tensors, work: StageContext) -> StageResult:
        """Export `model.core` for `feeds` (one array with a batch axis of 1 per core input).

        Raises StageError when the module cannot be captured as one graph or gives another output
        each time; or when the program's outputs are further from the module's than
        `tolerance_db`, for `feeds` or for other values.
        """
        tolerance_db = self.options.tolerance_db if self.options.verify else None
        work.progress(0, 3, "running the module")
        expected = expected_of(self.name, model, feeds, tolerance_db)
        work.progress(0, 3, "reading the module's code")
        with fresh(expected.model) as copied:
            program, folded = self._captured(copied, arguments_of(model, feeds))
        work.progress(1, 3, "writing the program")
        path = work.folder / "model.pt2"
        save(program, path)
        facts = describe(program)
        facts["folded_batch_norms"] = folded
        if tolerance_db is not None:
            work.progress(2, 3, "comparing the program with the module")
            play = _opened(path, model)
            player = "the program"
            facts["verify_snr_db"] = check_same(expected.outputs, play(feeds), player, tolerance_db)
            others_db = verify_others(play, model, feeds, player, tolerance_db)
            if others_db is not None:
                facts["verify_others_snr_db"] = others_db
        work.progress(3, 3)
        return StageResult(path, "torch_export", "fp32", facts, expected.notices)

    def _captured(
        self, model: TorchModel, arguments: tuple[torch.Tensor, ...]
    ) -> tuple[torch.export.ExportedProgram, int]:
        """Return the program, and how many batch norms were folded."""
        import torch

        try:
            with heard(), torch.no_grad():
                program, folded = torch.export.export(model.core, arguments), 0
                if self.options.fold_batch_norms:
                    module = program.module(check_guards=False)
                    assert isinstance(module, torch.fx.GraphModule)
                    folded = fold_batch_norms(module)
                    if folded:
                        program = torch.export.export(pruned(module), arguments)
                # Comes last: it gives batch norms another operator, which does not fold.
                return functional(program), folded
        except StageError:
            raise
        except Exception as error:  # torch.export raises a class per reason, with no common base
            raise untraceable(self.name, model.info, error) from error


def _opened(path: Path, model: TorchModel) -> Callable[[Tensors], Tensors]:
    """Return a function that runs the written program."""
    program = replace(model, core=load(path).module())
    return lambda feeds: outputs_of(program, feeds)


@hookimpl
def luthier_plugins() -> list[type[TorchExport]]:
    """Return the plugin of this file."""
    return [TorchExport]
