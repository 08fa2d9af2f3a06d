"""A toy runtime that compiles for a device that no machine has."""

from __future__ import annotations

from collections.abc import Callable

from core import Artifact, Runtime, Session, StageContext, StageError, StageResult, TorchModel
from core.plugin.kinds import NoOptions

WHY = "there is no such device"


class AbsentDevice(Runtime[NoOptions]):
    """Copies what it is given, and opens nothing."""

    name = "absent_device"
    accepts = frozenset({"onnx", "torch", "torch_export"})
    compiles = True

    def unopenable(self) -> str:
        """Return why."""
        return WHY

    def compile(self, artifact: Artifact, work: StageContext) -> StageResult:
        """Copy the artifact."""
        return StageResult(work.copy(artifact), artifact.format, artifact.precision)

    def open(
        self, artifact: Artifact, model: Callable[[], TorchModel], work: StageContext
    ) -> Session:
        """Refuse."""
        raise StageError(f"`absent_device` cannot open it: {WHY}")
