"""Compiles torch programs ahead of time: AOTInductor packages and TorchScript."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import ClassVar

from core import (
    Artifact,
    ArtifactSpec,
    BundlePart,
    Fact,
    ModelInfo,
    Notice,
    Requirement,
    Runtime,
    Session,
    StageContext,
    StageResult,
    TorchModel,
    hookimpl,
)
from core.config.bounds import MOST_THREADS, check_within
from plugins.runtime._torch_kernels.devices import Device, Half

NO_COMPILER = "a package needs a C++ compiler, and there is none here: it can make TorchScript"
#: Windows of zeros that a session plays when it is opened.
WARM = 2
#: Code that loads the model by hand, by format.
LOADING = {
    "aoti_package": """\
import torch

# It is native code for one kind of processor: check the SHA-256 in metadata.json first.
model = torch._inductor.aoti_load_package("model.pt2")
outputs = model(*inputs)  # a tensor for each of metadata["core"]["inputs"], in order
""",
    "torchscript": """\
import torch

# It is code: check the SHA-256 in metadata.json first. C++ loads it with torch::jit::load.
model = torch.jit.load("model.ts")
with torch.no_grad():
    outputs = model(*inputs)  # a tensor for each of metadata["core"]["inputs"], in order
""",
}


class Format(Enum):
    """What a program is compiled to, and the ending of its file."""

    aoti_package = ".pt2"
    torchscript = ".ts"


@dataclass
class TorchAotOptions:
    """The options of the runtime `torch_aot`."""

    format: Format = Format.aoti_package
    """What is made: aoti_package (native code, which needs a C++ compiler and minutes) or
    torchscript (an archive that PyTorch interprets, on any machine; PyTorch no longer develops
    it)."""
    device: Device = Device.cpu
    """What it is compiled for and plays on: cpu, cuda (a GPU by NVIDIA or AMD) or mps (by Apple).
    """
    threads: int = 0
    """Threads that one operator may use; 0 leaves PyTorch its default."""

    def __post_init__(self) -> None:
        """Raise ValueError for a number of threads out of range."""
        check_within(self, "threads", 0, MOST_THREADS)


class TorchAot(Runtime[TorchAotOptions]):
    """Compiles torch programs ahead of time, and plays the result without compiling again."""

    name = "torch_aot"
    accepts = frozenset({"torch_export"})
    compiles = True
    precisions = frozenset({"fp32", "fp16", "bf16"})
    Options = TorchAotOptions
    libraries = (Requirement("torch", "pip install torch"),)
    columns: ClassVar[Mapping[str, str]] = {"archive_bytes": "archive"}

    @classmethod
    def findings(cls) -> Sequence[Notice]:
        """Return whether a C++ compiler is here, which packages need."""
        from plugins.runtime._torch_kernels import compiler

        found = compiler()
        text = (
            f"makes packages with {found}" if found else "makes TorchScript only: no C++ compiler"
        )
        return (Notice("info" if found else "warning", text),)

    def machine(self) -> Mapping[str, Fact]:
        """Return the device and its features, for which the code is made."""
        from plugins.runtime._torch_kernels.devices import facts

        return facts(self.options.device)

    def advice(self, spec: ArtifactSpec) -> Sequence[Notice]:
        """Warn of what is missing here, and of 16 bits that are not faster than FP32."""
        from plugins.runtime._torch_kernels import compiler
        from plugins.runtime._torch_kernels.devices import missing, not_faster

        device, half = (
            self.options.device,
            next((h for h in Half if h.name == spec.precision), None),
        )
        found = [missing(device)]
        if self.options.format is Format.aoti_package and not compiler():
            found.append(NO_COMPILER)
        if half is not None and device is Device.cpu:
            found.append(not_faster(half, compiled=True))
        return [Notice("warning", text) for text in found if text]

    def plan(self, spec: ArtifactSpec) -> ArtifactSpec:
        """Return the spec of the archive."""
        return ArtifactSpec(self.options.format.name, spec.precision)

    def compile(self, artifact: Artifact, work: StageContext) -> StageResult:
        """Compile the program for this machine.

        Raises StageError for a device or a C++ compiler that is missing, and for a program that
        PyTorch cannot compile.
        """
        from core.formats.torch_export import load, zeros
        from plugins.runtime._torch_aot.archives import package, script
        from plugins.runtime._torch_aot.origin import made_by

        made, device = self.options.format, self._device()
        work.progress(0, 0, f"compiling the torch program: {made.name}")
        target = work.folder / f"model{made.value}"
        write = package if made is Format.aoti_package else script
        program = load(Path(artifact.path))
        takes = zeros(program)
        write(program, target, device)
        facts: dict[str, Fact] = {
            "archive_bytes": target.stat().st_size,
            **made_by(self.machine()),
            "takes": [
                {"dtype": str(t.dtype).removeprefix("torch."), "shape": " ".join(map(str, t.shape))}
                for t in takes
            ],
        }
        return StageResult(target, made.name, artifact.precision, facts)

    def open(
        self, artifact: Artifact, model: Callable[[], TorchModel], work: StageContext
    ) -> Session:
        """Load what `compile` made; it is code, so nothing else is loaded.

        Raises StageError for an archive that was damaged, or made for another machine.
        """
        from plugins.runtime._torch_aot.archives import load_package, load_script
        from plugins.runtime._torch_aot.origin import check_origin, inputs
        from plugins.runtime._torch_kernels import TorchSession

        device = self._device()
        native = artifact.format == Format.aoti_package.name
        check_origin(artifact, self.machine() if native else None)
        work.progress(0, 0, "loading the compiled program")
        path = Path(artifact.path)
        core = load_package(path) if native else load_script(path, device)
        takes = inputs(artifact)
        session = TorchSession(
            core,
            artifact.info,
            threads=self.options.threads,
            device=device,
            asked=device,
            how=["AOTInductor" if native else "TorchScript"],
            takes=takes,
            compiled=True,
        )
        # The first windows are slow: an archive sets itself up, and TorchScript optimises.
        return session.warm(WARM)

    def _device(self) -> Device:
        from plugins.runtime._torch_kernels.devices import chosen

        return chosen(self.options.device, allow_fallback=False)

    def ships(self, info: ModelInfo) -> BundlePart:
        """Return the lines that load the archive."""
        return BundlePart(lines={"python": LOADING[self.options.format.name]})


@hookimpl
def luthier_plugins() -> list[type[TorchAot]]:
    """Return the plugin of this file."""
    return [TorchAot]
