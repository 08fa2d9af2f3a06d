"""Plays graphs with OpenVINO, on a processor, and on Intel's GPUs and NPUs."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
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
    StageError,
    StageResult,
    TorchModel,
    hookimpl,
)
from core.config.bounds import MOST_THREADS, check_within
from plugins.runtime._openvino.machine import Float, Kernels

IR = "openvino_ir"
#: Names under which OpenVINO itself chooses among devices, or divides a graph among them.
CHOOSING = ("AUTO", "BATCH", "HETERO", "MULTI")
#: Code that loads the model by hand.
LOADING = """\
import sys

sys.modules["openvino_telemetry"] = None  # OpenVINO would report its use
import openvino

# Without the hints it computes in bfloat16 or float16 where the device can.
model = openvino.compile_model(
    "{file}",
    "{device}",
    {{"INFERENCE_PRECISION_HINT": "{precision}", "EXECUTION_MODE_HINT": "ACCURACY"}},
)
outputs = model(inputs)  # an array for each input of metadata["core"]["inputs"], by its name
"""


@dataclass
class OpenVinoOptions:
    """The options of the runtime `openvino`."""

    device: str = "CPU"
    """What computes, by OpenVINO's name: CPU, GPU, NPU, or one of several (GPU.1).
    `mode=doctor` lists this machine's."""
    precision: Float = Float.f32
    """The type that floating-point operators compute in: f32, bf16 or f16. OpenVINO's own choice
    would be bf16 or f16 where the device can; here it is always told."""
    kernels: Kernels = Kernels.auto
    """What quantised operators run on: OpenVINO's integer kernels (int8), floats that round like
    integers (simulated), or the kernels where the device's are exact (auto): on x86 they saturate
    without VNNI."""
    threads: int = 0
    """Threads that compute on a processor; 0 for one per core."""
    allow_fallback: bool = False
    """Whether a session may compute on the CPU where `device` is missing, and in another type where
    the device lacks `precision`. The report says what was used. By default this is an error."""

    def __post_init__(self) -> None:
        """Raise ValueError for an invalid number of threads or name of a device."""
        check_within(self, "threads", 0, MOST_THREADS)
        if self.device.split(":")[0] in CHOOSING:
            raise ValueError(
                f"`device` cannot be {self.device}: with it OpenVINO chooses devices itself, so "
                "that nobody knows what computed; name one: CPU, GPU or NPU"
            )
        if not re.fullmatch(r"[A-Z]+(\.\d+)?", self.device):
            raise ValueError(f"`device` cannot be `{self.device}`; it is CPU, GPU, NPU or GPU.1")


class OpenVino(Runtime[OpenVinoOptions]):
    """Converts ONNX graphs to OpenVINO's format, and plays them on a processor, GPU or NPU."""

    name = "openvino"
    accepts = frozenset({"onnx"})
    compiles = True
    Options = OpenVinoOptions
    libraries = (Requirement("openvino", "pip install openvino"),)
    columns: ClassVar[Mapping[str, str]] = {"ir_bytes": "IR"}

    @classmethod
    def findings(cls) -> Sequence[Notice]:
        """Return the devices that OpenVINO finds, with what each computes in."""
        from plugins.runtime._openvino.machine import devices

        return [
            Notice(
                "info",
                f"{name}: {found.title}, computes in {', '.join(found.floats()) or 'integers'}",
            )
            for name, found in devices().items()
        ]

    def machine(self) -> Mapping[str, Fact]:
        """Return the device and what it is able to: OpenVINO's kernels differ by it."""
        from plugins.runtime._openvino.machine import facts

        return facts(self.options.device)

    def unopenable(self) -> str:
        """Return that the device, or the type to compute in, is missing here; "" if nothing is."""
        from plugins.runtime._openvino.machine import choose

        if self.options.allow_fallback:
            return ""
        return "; ".join(choose(self.options.device, self.options.precision).reasons)

    def plan(self, spec: ArtifactSpec) -> ArtifactSpec:
        """Return the spec of the converted graph: a float graph has the type that computes it."""
        float_ = self.options.precision
        return ArtifactSpec(IR, float_.value if spec.precision == "fp32" else spec.precision)

    def compile(self, artifact: Artifact, work: StageContext) -> StageResult:
        """Convert to OpenVINO's format, which is the same for all devices.

        Raises StageError for an operator that OpenVINO lacks.
        """
        from plugins.runtime._openvino.conversion import convert

        work.progress(0, 0, "converting the graph for OpenVINO")
        target = work.folder / "model.xml"
        model = convert(Path(artifact.path), target)
        size = sum(target.with_suffix(end).stat().st_size for end in (".xml", ".bin"))
        facts: dict[str, Fact] = {"nodes": len(model.get_ops()), "ir_bytes": size}
        return StageResult(target, IR, self.plan(artifact.spec).precision, facts)

    def open(
        self,
        artifact: Artifact,
        model: Callable[[], TorchModel],  # the graph is all that it needs
        work: StageContext,
    ) -> Session:
        """Compile for the device; raises StageError where it cannot be as the options say."""
        from plugins.runtime._openvino.conversion import convert
        from plugins.runtime._openvino.machine import Choice, choose, why_inexact
        from plugins.runtime._openvino.session import OpenVinoSession, settings

        options = self.options
        choice = choose(options.device, options.precision)
        if choice.reasons and not options.allow_fallback:
            raise StageError(
                choice.reasons[0],
                *choice.reasons[1:],
                f"ask for what is here: runtime.device={choice.device} "
                f"runtime.precision={choice.float_.name}",
                "or take it without asking: runtime.allow_fallback=true",
            )
        inexact = why_inexact(choice.device)
        if inexact and options.kernels is Kernels.int8:
            raise StageError(
                f"OpenVINO's integer kernels cannot be used here: {inexact}",
                "compute in floats that round like integers: runtime.kernels=simulated",
            )
        simulated = "`kernels` says so" if options.kernels is Kernels.simulated else inexact
        path = Path(artifact.path)
        if artifact.format == "onnx":
            path = work.folder / "model.xml"
            convert(Path(artifact.path), path)
        work.progress(0, 0, f"compiling the graph for {choice.device} with OpenVINO")
        cache = work.state(self.name)
        return OpenVinoSession(
            path,
            artifact.info,
            choice=choice,
            asked=Choice(options.device, options.precision),
            own=settings(choice, options.threads, cache, simulated=bool(simulated)),
            simulated=simulated,
        )

    def ships(self, info: ModelInfo) -> BundlePart:
        """Return a program in Python that opens the graph with OpenVINO, and lines that load it."""
        from plugins.runtime._on_device import onnxruntime_library, package, sources

        options = self.options
        facts: dict[str, Fact] = {"device": options.device, "precision": options.precision.name}
        lines = LOADING.format(
            file="model.xml", device=options.device, precision=options.precision.name
        )
        python = {p: file for p, file in sources(self.name).items() if p.startswith("python/")}
        linked = (package("openvino", "plays the model"), onnxruntime_library())
        return BundlePart(facts, python, {"python": lines}, linked)


@hookimpl
def luthier_plugins() -> list[type[OpenVino]]:
    """Return the plugin of this file."""
    return [OpenVino]
