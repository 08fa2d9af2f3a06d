"""Qualcomm's HTP: compiles for a Snapdragon's NPU and emulates it, both on this machine."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core import (
    Artifact,
    ArtifactSpec,
    Fact,
    Library,
    Made,
    ModelInfo,
    Notice,
    Progress,
    Runtime,
    Session,
    Shipped,
    StageError,
    TorchModel,
    Work,
    from_target,
    hookimpl,
)

if TYPE_CHECKING:
    from core.values import Tensors
    from plugins.runtime.htp.process import HtpDevice, Limits

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

    def __post_init__(self) -> None:
        """Refuse what the library would refuse later, and less clearly."""
        if self.finalization_mode not in range(4):
            raise ValueError(f"`finalization_mode` is {self.finalization_mode}; it can be 0 to 3")
        if self.time_limit_s <= 0 or self.memory_limit_mb <= 0:
            raise ValueError("`time_limit_s` and `memory_limit_mb` must be above 0")


class Qnn(Runtime[QnnOptions]):
    """Compiles for a Snapdragon's NPU (HTP), and runs a few windows on the emulator of it."""

    name = "qnn"
    Options = QnnOptions
    libraries = (
        Library("onnxruntime", "pip install onnxruntime"),
        Library("onnxruntime_qnn", "pip install onnxruntime-qnn", "onnxruntime-qnn"),
    )
    accepts = frozenset({"onnx"})
    compiles = True
    plays = False
    precisions = frozenset({"fp32", "fp16", "int8", "w8a16"})

    @classmethod
    def unavailable(cls) -> str:
        """Say why the vendor's library cannot run here: another system or processor."""
        from plugins.runtime.htp.library import available

        return available() or ""

    def plan(self, spec: ArtifactSpec) -> ArtifactSpec:
        """Say what comes out: the HTP computes a float graph in FP16."""
        return ArtifactSpec(CONTEXT, "fp16" if spec.precision == "fp32" else spec.precision)

    def compile(self, artifact: Artifact, work: Work) -> Made:
        """Compile to a context binary, and say what became of every node."""
        from plugins.runtime.htp.failure import QnnFailure
        from plugins.runtime.htp.partition import is_whole, partition_map, why_split
        from plugins.runtime.htp.process import compile_context

        source, target = Path(artifact.path), work.folder / "model.onnx"
        try:
            done = compile_context(
                source,
                target,
                folder=work.folder,
                device=self._device(),
                limits=self._limits(),
                progress=_told(work.progress, self.options.time_limit_s),
            )
        except QnnFailure as failure:
            raise _stage_error(failure) from failure
        facts = {**partition_map(done, source), "finalization_mode": self.options.finalization_mode}
        notices = () if is_whole(done) else (Notice("warning", why_split(done)),)
        return Made(target, CONTEXT, self.plan(artifact.spec).precision, facts, notices)

    def open(self, artifact: Artifact, model: Callable[[], TorchModel], work: Work) -> Session:
        """Open the compiled model on the emulator."""
        return Emulator(Path(artifact.path), work, self._device(), self._limits())

    def ships(self, info: ModelInfo) -> Shipped:
        """Return the code that opens the context binary on a phone, and what an app links."""
        from plugins.runtime.htp.app import lines, qnn_version
        from plugins.runtime.on_device import sources

        facts: dict[str, Fact] = {
            "soc_model": self.options.soc_model,
            "htp_arch": self.options.htp_arch,
            "qnn_version": qnn_version(),
        }
        return Shipped(facts, sources(self.name), lines())

    def _device(self) -> HtpDevice:
        from plugins.runtime.htp.process import HtpDevice

        options = self.options
        return HtpDevice(options.soc_model, options.htp_arch, options.finalization_mode)

    def _limits(self) -> Limits:
        from plugins.runtime.htp.process import Limits

        return Limits(self.options.time_limit_s, self.options.memory_limit_mb * 1_000_000)


class Emulator(Session):
    """The HTP's emulator in a child process; starting it takes long, so windows go in together."""

    on_target = False

    def __init__(self, context: Path, work: Work, device: HtpDevice, limits: Limits) -> None:
        """Hold what a child process needs; none is started yet."""
        from importlib.metadata import version

        self.context, self.work, self.htp, self.limits = context, work, device, limits
        library = f"onnxruntime-qnn {version('onnxruntime-qnn')}"
        self.device = f"HTP emulator on x86-64 (v{device.htp_arch}, {library})"

    def run(self, feeds: Tensors) -> Tensors:
        """Run one window."""
        return next(self.run_many([feeds], self.work.progress))

    def run_many(self, feeds: Sequence[Tensors], progress: Progress) -> Iterator[Tensors]:
        """Run every window in one child process."""
        import tempfile

        import numpy as np

        from plugins.runtime.htp.failure import QnnFailure
        from plugins.runtime.htp.process import emulate

        with tempfile.TemporaryDirectory(dir=self.work.folder) as name:
            folder = Path(name)
            stacked: dict[str, Any] = {
                key: np.stack([feed[key] for feed in feeds]) for key in feeds[0]
            }
            np.savez(folder / "inputs.npz", **stacked)
            try:
                done = emulate(
                    self.context,
                    folder / "inputs.npz",
                    folder / "outputs.npz",
                    folder=folder,
                    device=self.htp,
                    limits=self.limits,
                    progress=_told(progress, self.limits.seconds),
                )
            except QnnFailure as failure:
                raise _stage_error(failure) from failure
            self.seconds = done.seconds_per_chunk
            with np.load(done.outputs) as stored:
                outputs = {key: stored[key] for key in stored.files}
        for index in range(len(feeds)):
            yield {key: array[index] for key, array in outputs.items()}


def _told(progress: Progress, limit_s: float) -> Callable[[str, float], None]:
    """Turn the child's words into progress; how long it takes is not known beforehand."""
    return lambda message, elapsed_s: progress(elapsed_s, 0, f"{message} (limit {limit_s:.0f} s)")


def _stage_error(failure: Any) -> StageError:
    tail = [line for line in failure.log_tail.splitlines() if line.strip()]
    return StageError(failure.reason, failure.hint, *tail[-3:])


@hookimpl
def luthier_plugins() -> list[type[Qnn]]:
    """Add `qnn`."""
    return [Qnn]
