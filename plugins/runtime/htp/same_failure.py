"""Whether a part of a graph fails in the compiler in the same way as the whole."""

from __future__ import annotations

from pathlib import Path

from core import Progress
from plugins.runtime.htp.blame import Fails
from plugins.runtime.htp.failure import QnnFailure
from plugins.runtime.htp.process import HtpDevice, Limits, compile_context

__all__ = ["fails_alike"]

#: What says nothing of the part: the time for it was too short, or this machine too small.
_UNDECIDED = ("timeout", "memory", "killed")


def fails_alike(
    failure: QnnFailure, folder: Path, device: HtpDevice, limits: Limits, progress: Progress
) -> Fails:
    """Return a function that compiles a part below `folder` and compares its end with `failure`."""
    number = 0

    def told(message: str, elapsed_s: float) -> None:
        progress(elapsed_s, 0, f"does not fit; looking for the node, part {number}: {message}")

    def fails(part: Path, seconds: float) -> bool | None:
        nonlocal number
        number += 1
        try:
            compile_context(
                part,
                folder / "part_context.onnx",
                folder=folder,
                device=device,
                limits=Limits(min(seconds, limits.seconds), limits.memory_bytes),
                progress=told,
            )
        except QnnFailure as other:
            return None if other.cause in _UNDECIDED else other.cause == failure.cause
        return False

    return fails
