"""Static INT8 of a torch program with PyTorch's own library, torchao."""

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
from core.config.bounds import MOST_WINDOWS, check_within
from core.formats.torch_export import load, zeros
from plugins.quantizer._torchao import (
    TORCHAO,
    Backend,
    Operator,
    quantised,
    types_for,
    windows,
    write,
)


@dataclass
class TorchStaticOptions:
    """The options of static quantisation by PyTorch."""

    operators: list[str] = field(default_factory=lambda: [one.value for one in Operator])
    """What is quantised: conv1d, conv2d, linear."""
    exclude: list[str] = field(default_factory=list)
    """What stays in float: patterns of module paths, such as model.encoder.0.* ."""
    windows: int = 24
    """How many windows of calibration data to look at."""
    backend: Backend = Backend.auto
    """Whose kernels it is for: x86 (uint8 activations, weights per channel), arm (int8, per
    tensor), or that of this machine."""
    reduce_range: bool = False
    """Activations of 7 bits, for x86 processors without VNNI: there PyTorch's integer kernels
    saturate, and the runtime simulates 8 bits in float instead."""

    def __post_init__(self) -> None:
        """Raise ValueError for a value out of its range."""
        check_within(self, "windows", 1, MOST_WINDOWS)
        known = [one.value for one in Operator]
        if not self.operators or not set(self.operators) <= set(known):
            raise ValueError(f"`operators` cannot be {self.operators}; it names {', '.join(known)}")


class TorchStatic(Quantizer[TorchStaticOptions]):
    """Quantises weights and activations of a torch program to INT8, for PyTorch itself."""

    name = "torch_static"
    accepts = frozenset({"torch_export"})
    Options = TorchStaticOptions
    libraries = (Requirement("torch", "pip install torch"), TORCHAO)

    @property
    def calibration_windows(self) -> int:
        """Return how many windows of calibration data the quantizer wants."""
        return self.options.windows

    def plan(self, spec: ArtifactSpec) -> ArtifactSpec:
        """Map a float program to one of 8 bits."""
        return ArtifactSpec(spec.format, "int8")

    def run(self, artifact: Artifact, calibration: Calibration, work: StageContext) -> StageResult:
        """Quantise the program; its inputs and outputs stay FP32.

        A notice names every layer that 8 bits do not hold. Raises StageError where there is
        nothing to quantise, InputError for calibration data with a NaN.
        """
        options = self.options
        program = load(Path(artifact.path))
        config = types_for(options.backend, dynamic=False, reduce_range=options.reduce_range)
        done = quantised(
            program,
            config,
            [Operator(name) for name in options.operators],
            options.exclude,
            windows(calibration, artifact.info, work.progress),
            artifact.info.core_outputs,
        )
        work.progress(0, 0, "writing the program")
        notes: dict[str, Fact] = {
            "backend": options.backend.here.name,
            "reduce_range": options.reduce_range,
            "calibration_windows": calibration.count,
            **done.facts,
        }
        return write(done.module, zeros(program), "int8", work, notes, done.notices)


@hookimpl
def luthier_plugins() -> list[type[TorchStatic]]:
    """Return the plugin of this file."""
    return [TorchStatic]
