"""The HTP's emulator as a session: a child process that runs some windows and ends."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from core import Artifact, Placement, Progress, Session, StageContext, StageError, Tensors
from core.formats.onnx_placement import Executed
from plugins.runtime._htp.failure import QnnFailure
from plugins.runtime._htp.partition import placement_of
from plugins.runtime._htp.process import HtpDevice, Limits, emulate

__all__ = ["Emulator", "told"]


class Emulator(Session):
    """The HTP's emulator in a child process; starting it takes long, so windows go in together."""

    on_target = False

    def __init__(
        self, compiled: Artifact, work: StageContext, device: HtpDevice, limits: Limits
    ) -> None:
        """Store the arguments of a child process; none is started yet."""
        from importlib.metadata import version

        self.compiled, self.work, self.htp, self.limits = compiled, work, device, limits
        self.executed: tuple[Executed, ...] = ()
        library = f"onnxruntime-qnn {version('onnxruntime-qnn')}"
        self.device = f"HTP emulator on x86-64 (v{device.htp_arch}, {library})"

    def run(self, feeds: Tensors) -> Tensors:
        """Run one window."""
        return next(self.run_many([feeds], self.work.progress))

    def run_many(self, feeds: Sequence[Tensors], progress: Progress) -> Iterator[Tensors]:
        """Run every window in one child process."""
        import tempfile

        import numpy as np

        with tempfile.TemporaryDirectory(dir=self.work.folder) as name:
            folder = Path(name)
            stacked: dict[str, Any] = {
                key: np.stack([feed[key] for feed in feeds]) for key in feeds[0]
            }
            np.savez(folder / "inputs.npz", **stacked)
            try:
                done = emulate(
                    Path(self.compiled.path),
                    folder / "inputs.npz",
                    folder / "outputs.npz",
                    folder=folder,
                    device=self.htp,
                    limits=self.limits,
                    progress=told(progress, self.limits.seconds),
                )
            except QnnFailure as failure:
                raise StageError(failure.reason, failure.hint, *failure.last_lines) from failure
            self.seconds, self.executed = done.seconds_per_chunk, done.executed
            with np.load(done.outputs) as stored:
                outputs = {key: stored[key] for key in stored.files}
        for index in range(len(feeds)):
            yield {key: array[index] for key, array in outputs.items()}

    def placement(self, feeds: Tensors) -> Placement | None:
        """Return what computed each node in the last windows that were run."""
        return placement_of(self.compiled.facts, self.executed)


def told(progress: Progress, limit_s: float) -> Callable[[str, float], None]:
    """Turn the child's lines into progress; the total time is not known beforehand."""
    return lambda message, elapsed_s: progress(elapsed_s, 0, f"{message} (limit {limit_s:.0f} s)")
