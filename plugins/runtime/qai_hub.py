"""Qualcomm AI Hub: compiles in the cloud and plays whole songs on a real phone there."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING

from core import (
    Artifact,
    ArtifactSpec,
    BundlePart,
    ModelInfo,
    Notice,
    Reach,
    Requirement,
    Runtime,
    Session,
    StageContext,
    StageResult,
    TorchModel,
    from_target,
    hookimpl,
)

if TYPE_CHECKING:
    from plugins.vendor.qai_hub import Waiting

FORMAT = "qai_hub"


class TargetRuntime(Enum):
    """The target runtimes that the service compiles to, by its own names."""

    precompiled_qnn_onnx = "precompiled_qnn_onnx"
    qnn_context_binary = "qnn_context_binary"
    tflite = "tflite"
    onnx = "onnx"


#: Those that the service compiles for the NPU ahead of time, which computes a float graph in FP16.
ON_NPU = frozenset({TargetRuntime.precompiled_qnn_onnx, TargetRuntime.qnn_context_binary})


@dataclass
class QaiHubOptions:
    """The options of `qai_hub`."""

    device: str = from_target("ai_hub_device")
    """Name of the device, as `mode=doctor` lists it."""
    target_runtime: TargetRuntime = TargetRuntime.precompiled_qnn_onnx
    """What it is compiled to: precompiled_qnn_onnx (a context binary in an ONNX graph),
    qnn_context_binary, tflite or onnx."""
    profile: bool = True
    """Whether the device also says what every layer took, and where it ran."""
    job_mb: int = 1000
    """Most megabytes of input in one job, uncompressed. The service documents no limit that we
    know of; a song of three minutes takes 430 MB."""
    poll_s: float = 5.0
    """Seconds between two questions about a job's state."""
    time_limit_s: float = 14400.0
    """Seconds that one job is waited for; it goes on without us, and is taken up again."""

    def __post_init__(self) -> None:
        """Refuse values that nobody could wait for or send."""
        if self.job_mb < 1:
            raise ValueError(f"`job_mb` is {self.job_mb}; give 1 or more")
        if self.poll_s <= 0 or self.time_limit_s <= 0:
            raise ValueError("`poll_s` and `time_limit_s` must be above 0")


class QaiHub(Runtime[QaiHubOptions]):
    """Compiles in Qualcomm's cloud and plays on a real device there, many windows in one job."""

    name = "qai_hub"
    Options = QaiHubOptions
    libraries = (
        Requirement("qai_hub", "pip install qai-hub", "qai-hub"),
        Requirement("onnx", "pip install onnx"),
    )
    accepts = frozenset({"onnx"})
    compiles = True
    precisions = frozenset({"fp32", "fp16", "int8", "mixed", "w8a16"})

    @classmethod
    def findings(cls) -> Sequence[Notice]:
        """Return the devices of the account, or how to set a token."""
        from plugins.vendor.qai_hub import findings

        return findings()

    def reaches(self) -> Sequence[Reach]:
        """Return the service, which receives the graph and the windows."""
        from plugins.vendor.qai_hub import host

        return (Reach("asks", host(), "Qualcomm AI Hub"),)

    def plan(self, spec: ArtifactSpec) -> ArtifactSpec:
        """Map a graph to a format that only this runtime opens."""
        narrowed = spec.precision == "fp32" and self.options.target_runtime in ON_NPU
        return ArtifactSpec(FORMAT, "fp16" if narrowed else spec.precision)

    def compile(self, artifact: Artifact, work: StageContext) -> StageResult:
        """Upload, compile for the device, and download the compiled model."""
        from plugins.runtime._qai_hub import compiled
        from plugins.vendor.qai_hub import (
            content_of,
            fetch_model,
            finished_job,
            hub_for,
            remember_model,
            upload_model,
        )

        source = Path(artifact.path)
        interface = compiled.interface_of(source)
        hub = hub_for(work, self._patience())
        phone = hub.device(self.options.device)
        flags = f"--target_runtime {self.options.target_runtime.value}"

        def prepare() -> Callable[[str], object]:
            from qai_hub import Device

            model, device = upload_model(hub, source), Device(phone.name, phone.os)
            submit = hub.client.submit_compile_job
            return lambda name: submit(model, device, name=name, options=flags, retry=False)

        job = finished_job(hub, "compile", [content_of(source), phone.name, flags], prepare)
        made = fetch_model(hub, job.detail.target_model.model_id, work.folder)
        remember_model(hub, made, job.detail.target_model.model_id)
        compiled.write(interface, work.folder)
        facts = {
            **job.facts,
            "compiled_for": phone.name,
            "target_runtime": self.options.target_runtime.value,
            "window_bytes": interface.window_bytes,
        }
        return StageResult(made, FORMAT, self.plan(artifact.spec).precision, facts)

    def open(
        self, artifact: Artifact, model: Callable[[], TorchModel], work: StageContext
    ) -> Session:
        """Open the compiled model on the device; the first windows submit the first job."""
        from plugins.runtime._qai_hub.session import CloudSession, Wanted

        options = self.options
        wanted = Wanted(
            options.device, options.profile, options.job_mb * 1_000_000, self._patience()
        )
        return CloudSession(Path(artifact.path), wanted, work)

    def ships(self, info: ModelInfo) -> BundlePart:
        """Return the lines that load the compiled model."""
        return BundlePart(lines={"python": _HOW_TO_LOAD[self.options.target_runtime]})

    def _patience(self) -> Waiting:
        from plugins.vendor.qai_hub import Waiting

        return Waiting(self.options.poll_s, self.options.time_limit_s)


_WITH_ONNX = """\
import onnxruntime as ort  # with Qualcomm's QNN execution provider, on the device

session = ort.InferenceSession(
    "model.onnx", providers=["QNNExecutionProvider", "CPUExecutionProvider"],
    provider_options=[{"backend_path": "libQnnHtp.so"}, {}],
)
"""
_HOW_TO_LOAD = {
    TargetRuntime.onnx: _WITH_ONNX,
    TargetRuntime.precompiled_qnn_onnx: _WITH_ONNX,
    TargetRuntime.tflite: """\
from ai_edge_litert.interpreter import Interpreter  # on Android: LiteRT with the QNN delegate

interpreter = Interpreter("model.tflite")
interpreter.allocate_tensors()
""",
    TargetRuntime.qnn_context_binary: """\
# A QNN context binary, loaded by Qualcomm's AI Engine Direct SDK on the device:
# qnn-net-run --retrieve_context model.bin --backend libQnnHtp.so --input_list inputs.txt
""",
}


@hookimpl
def luthier_plugins() -> list[type[QaiHub]]:
    """Return the runtime plugin of this file."""
    return [QaiHub]
