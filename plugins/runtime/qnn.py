"""Qualcomm's HTP: compiles for a Snapdragon's NPU and emulates it, both on this machine."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

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
    from_target,
    hookimpl,
)
from core.errors import MissingLibraryError
from core.machine.program import line

if TYPE_CHECKING:
    from plugins.runtime._htp.process import HtpDevice, Limits

CONTEXT = "qnn_context"


@dataclass
class QnnOptions:
    """The options of `qnn`."""

    soc_model: int = from_target("soc_model")
    """Qualcomm's number of the chip."""
    htp_arch: int = from_target("htp_arch")
    """Version of the Hexagon tensor processor."""
    finalization_mode: int = 1
    """How hard the compiler optimises, 0 to 3; 1 compiles several times faster than the rest."""
    time_limit_s: float = 3600.0
    """Seconds that compiling, or emulating, may take."""
    memory_limit_mb: int = 20000
    """Memory of this machine that compiling, or emulating, may take, in MB."""
    blame_limit_s: float = 120.0
    """Seconds to look for the first node that the NPU has no place for, by compiling parts of a
    graph that does not fit; 0 looks for none."""

    def __post_init__(self) -> None:
        """Refuse what the library would refuse later, and less clearly."""
        if self.finalization_mode not in range(4):
            raise ValueError(f"`finalization_mode` is {self.finalization_mode}; it can be 0 to 3")
        if self.time_limit_s <= 0 or self.memory_limit_mb <= 0:
            raise ValueError("`time_limit_s` and `memory_limit_mb` must be above 0")
        if self.blame_limit_s < 0:
            raise ValueError(f"`blame_limit_s` is {self.blame_limit_s}; give 0 or more")


class Qnn(Runtime[QnnOptions]):
    """Compiles for a Snapdragon's NPU (HTP), and runs a few windows on the emulator of it."""

    name = "qnn"
    Options = QnnOptions
    libraries = (
        Requirement("onnxruntime", "pip install onnxruntime"),
        Requirement("onnxruntime_qnn", "pip install onnxruntime-qnn", "onnxruntime-qnn"),
    )
    accepts = frozenset({"onnx"})
    compiles = True
    plays = False
    precisions = frozenset({"fp32", "fp16", "int8", "mixed", "w8a16", "w4a16"})
    columns: ClassVar[Mapping[str, str]] = {
        "partitions": "partitions",
        "nodes_on_cpu": "CPU nodes",
        "context_binary_bytes": "context binary",
    }

    @classmethod
    def unavailable(cls) -> str:
        """Return why the vendor's library cannot run here: another system or processor."""
        from plugins.runtime._htp.library import available

        return available() or ""

    def plan(self, spec: ArtifactSpec) -> ArtifactSpec:
        """Return the compiled artifact's spec: the HTP computes a float graph in FP16.

        Raises MissingLibraryError where the compiler cannot run here, before anything is made.
        """
        if problem := self.unavailable():
            raise MissingLibraryError(
                "runtime `qnn` cannot compile on this machine",
                problem,
                f"see what works here: {line(['mode=doctor'])}",
            )
        return ArtifactSpec(CONTEXT, "fp16" if spec.precision == "fp32" else spec.precision)

    def compile(self, artifact: Artifact, work: StageContext) -> StageResult:
        """Compile to a context binary, and report where every node went.

        Raises DoesNotFitError where the graph exceeds the NPU or a limit, StageError where it
        leaves a length free.
        """
        from plugins.runtime._htp.emulator import told
        from plugins.runtime._htp.failure import QnnFailure
        from plugins.runtime._htp.message import Attempt, reasons_of, stage_error
        from plugins.runtime._htp.partition import is_whole, partition_map, why_split
        from plugins.runtime._htp.process import compile_context

        source, target = Path(artifact.path), work.folder / "model.onnx"
        _check_lengths(source)
        device, limits = self._device(), self._limits()
        attempt = Attempt(source, work.folder, device, limits, work.progress)
        try:
            done = compile_context(
                source,
                target,
                folder=work.folder,
                device=device,
                limits=limits,
                progress=told(work.progress, limits.seconds),
            )
        except QnnFailure as failure:
            raise stage_error(failure, attempt, self.options.blame_limit_s) from failure
        reasons = reasons_of(attempt) if done.left else {}
        facts = partition_map(done, source, reasons)
        facts["finalization_mode"] = self.options.finalization_mode
        notices = () if is_whole(done) else (Notice("warning", why_split(done, reasons)),)
        return StageResult(target, CONTEXT, self.plan(artifact.spec).precision, facts, notices)

    def open(
        self, artifact: Artifact, model: Callable[[], TorchModel], work: StageContext
    ) -> Session:
        """Open the compiled model on the emulator."""
        from plugins.runtime._htp.emulator import Emulator

        return Emulator(artifact, work, self._device(), self._limits())

    def ships(self, info: ModelInfo) -> BundlePart:
        """Return the code that opens the context binary on a phone, and what an app links."""
        from plugins.runtime._htp.app import libraries, lines, qnn_version
        from plugins.runtime._on_device import sources

        facts: dict[str, Fact] = {
            "soc_model": self.options.soc_model,
            "htp_arch": self.options.htp_arch,
            "qnn_version": qnn_version(),
        }
        return BundlePart(facts, sources(self.name), lines(), libraries())

    def _device(self) -> HtpDevice:
        from plugins.runtime._htp.process import HtpDevice

        options = self.options
        return HtpDevice(options.soc_model, options.htp_arch, options.finalization_mode)

    def _limits(self) -> Limits:
        from plugins.runtime._htp.process import Limits

        return Limits(self.options.time_limit_s, self.options.memory_limit_mb * 1_000_000)


def _check_lengths(path: Path) -> None:
    """Raise StageError for a graph whose inputs leave a length free.

    onnxruntime-qnn 2.7.0 then rejects all its nodes, and says "Cannot get shape" of one.
    """
    import onnx

    graph = onnx.load(str(path), load_external_data=False).graph
    weights = {tensor.name for tensor in graph.initializer}
    for value in graph.input:
        for index, axis in enumerate(value.type.tensor_type.shape.dim):
            if value.name not in weights and not axis.HasField("dim_value"):
                name = axis.dim_param or f"axis {index}"
                raise StageError(
                    f"the NPU's compiler takes graphs of fixed lengths, but `{value.name}` leaves "
                    f"`{name}` free",
                    f"at: {path}",
                    "export it for one length: exporter.dynamic=false chunker=overlap_add",
                )


@hookimpl
def luthier_plugins() -> list[type[Qnn]]:
    """Return the runtime plugin of this file."""
    return [Qnn]
