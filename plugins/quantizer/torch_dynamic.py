"""Dynamic INT8 of a torch program with torchao: ranges of activations follow at run time."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from core import (
    Artifact,
    ArtifactSpec,
    Calibration,
    Fact,
    Quantizer,
    Requirement,
    StageContext,
    StageResult,
    hookimpl,
)
from core.formats.torch_export import load, zeros
from plugins.quantizer._torchao import TORCHAO, Backend, Operator, quantised, types_for, write


@dataclass
class TorchDynamicOptions:
    """The options of dynamic quantisation by PyTorch."""

    exclude: list[str] = field(default_factory=list)
    """What stays in float: patterns of module paths, such as model.crosstransformer.* ."""
    backend: Backend = Backend.auto
    """Whose kernels it is for: x86 (uint8 activations, weights per channel), arm (int8, per
    tensor), or that of this machine."""
    reduce_range: bool = False
    """Activations of 7 bits, for x86 processors without VNNI: there PyTorch's integer kernels
    saturate, and the runtime simulates 8 bits in float instead."""


class TorchDynamic(Quantizer[TorchDynamicOptions]):
    """Quantises the linear layers of a torch program to INT8, without calibration data."""

    name = "torch_dynamic"
    accepts = frozenset({"torch_export"})
    Options = TorchDynamicOptions
    libraries = (Requirement("torch", "pip install torch"), TORCHAO)

    def plan(self, spec: ArtifactSpec) -> ArtifactSpec:
        """Map a float program to one with integer weights."""
        return ArtifactSpec(spec.format, "dynamic")

    def run(
        self,
        artifact: Artifact,
        calibration: Calibration,  # unused: ranges follow at run time
        work: StageContext,
    ) -> StageResult:
        """Quantise the linear layers, attention's included; raises StageError without any."""
        options = self.options
        work.progress(0, 2, "quantising the linear layers")
        program = load(Path(artifact.path))
        config = types_for(options.backend, dynamic=True, reduce_range=options.reduce_range)
        arguments = zeros(program)
        # The weights are observed when their operator runs, so one window of zeros passes through.
        done = quantised(
            program,
            config,
            [Operator.linear],
            options.exclude,
            [arguments],
            artifact.info.core_outputs,
            dynamic=True,
        )
        work.progress(1, 2, "writing the program")
        notes: dict[str, Fact] = {
            "backend": options.backend.here.name,
            "reduce_range": options.reduce_range,
            **done.facts,
        }
        return write(done.module, arguments, "dynamic", work, notes, done.notices)


@hookimpl
def luthier_plugins() -> list[type[TorchDynamic]]:
    """Return the plugin of this file."""
    return [TorchDynamic]
