"""The error that a person sees when the compiler fails, with the node that causes it."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

from core import DoesNotFitError, Progress, StageError
from plugins.runtime._htp.failing_node import Fails, find_failing_node
from plugins.runtime._htp.failure import QnnFailure
from plugins.runtime._htp.process import HtpDevice, Limits, compile_context, explain

__all__ = ["Attempt", "reasons_of", "stage_error"]

#: The exhausted resource, by how the compiler failed; other failures do not concern the size.
RAN_OUT = {
    "device_memory": "device memory",
    "crash": "compiler crashed",
    "timeout": "time limit",
    "memory": "memory limit",
    "killed": "this machine's memory",
}
#: The failures that a part of the graph repeats, so that the first node with it can be found.
REPEATED = ("device_memory", "crash")
#: Failures that say nothing of a part: the time was too short, or this machine too small.
UNDECIDED = ("timeout", "memory", "killed")


@dataclass(frozen=True)
class Attempt:
    """One compilation: the ONNX file `source`, its device, its limits and its folder."""

    source: Path
    folder: Path
    device: HtpDevice
    limits: Limits
    progress: Progress


def stage_error(failure: QnnFailure, attempt: Attempt, blame_limit_s: float) -> StageError:
    """Return the error for a failed attempt; looks for the node for up to `blame_limit_s`."""
    if failure.cause not in RAN_OUT:
        refused = reasons_of(attempt) if failure.cause == "refused" else {}
        # One reason is enough: an operator, or a precision that the chip does not have.
        why = [f"the NPU does not take `{n}`: {r}" for n, r in list(refused.items())[:1]]
        return StageError(failure.reason, *why, failure.hint, *failure.last_lines)
    blamed = failure.cause in REPEATED and blame_limit_s > 0
    return DoesNotFitError(
        failure.reason,
        *(_blamed(failure, attempt, blame_limit_s) if blamed else ()),
        failure.hint,
        cause=RAN_OUT[failure.cause],
        cacheable=failure.cause != "killed",
    )


def _blamed(failure: QnnFailure, attempt: Attempt, limit_s: float) -> list[str]:
    """Return in words which node cannot be placed, or why it was not found; never raises."""
    with tempfile.TemporaryDirectory(dir=attempt.folder) as name:
        try:
            fails = _fails_alike(failure, attempt, Path(name))
            found = find_failing_node(attempt.source, fails, Path(name), limit_s)
        except Exception as error:
            said = str(error).partition("\n")[0]
            return [f"the node was not found: {type(error).__name__}: {said}"]
    return found.lines() if found else []


def reasons_of(attempt: Attempt) -> dict[str, str]:
    """Return why the NPU rejects some nodes, by name; empty where that cannot be found out."""
    try:
        return explain(
            attempt.source, folder=attempt.folder, device=attempt.device, limits=attempt.limits
        )
    except QnnFailure:
        return {}


def _fails_alike(failure: QnnFailure, attempt: Attempt, folder: Path) -> Fails:
    """Return a function that compiles a part below `folder` and compares its end with `failure`."""
    number = 0

    def told(message: str, elapsed_s: float) -> None:
        attempt.progress(
            elapsed_s, 0, f"does not fit; looking for the node, part {number}: {message}"
        )

    def fails(part: Path, seconds: float) -> bool | None:
        nonlocal number
        number += 1
        try:
            compile_context(
                part,
                folder / "part_context.onnx",
                folder=folder,
                device=attempt.device,
                limits=Limits(min(seconds, attempt.limits.seconds), attempt.limits.memory_bytes),
                progress=told,
            )
        except QnnFailure as other:
            return None if other.cause in UNDECIDED else other.cause == failure.cause
        return False

    return fails
