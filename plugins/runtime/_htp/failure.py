"""Explains how the QNN child process failed: what happened, where, and what to do."""

from __future__ import annotations

import re
import signal
from typing import Literal

from core.machine.child_process import ChildEnd, Limits
from plugins.runtime._htp.library import INSTALL

__all__ = ["QnnFailure", "failure_of"]

Cause = Literal["missing", "refused", "crash", "device_memory", "memory", "timeout", "killed"]

_SMALLER = "choose a shorter chunk, 8-bit activations, or the `npu` form of the model"
_SEE = "choose another precision or target, or rewrite the graph: precision=..., graph=[...]"
_COLOUR, _NOISE, _WIDTH = (
    re.compile(r"\x1b\[[0-9;]*m"),
    re.compile(r"\[[VIW]:onnxruntime|LIBNATIVE"),
    300,
)
# QNN_COMMON_ERROR_MEM_ALLOC: the vendor's compiler found no way to fit the graph.
_NO_MEMORY = re.compile(r"MEM_ALLOC|\b(?:error|code)\D{0,12}1002\b", re.IGNORECASE)


class QnnFailure(RuntimeError):  # noqa: N818  # it carries a verdict, not only an error
    """The library refused, crashed, or broke a limit."""

    def __init__(
        self, reason: str, hint: str, log_tail: str = "", cause: Cause = "refused"
    ) -> None:
        """Keep what happened (`reason`), what to do (`hint`) and the child's last lines."""
        super().__init__(f"{reason}\n  {hint}")
        self.reason = reason
        self.hint = hint
        self.log_tail = log_tail
        self.cause: Cause = cause

    @property
    def last_lines(self) -> list[str]:
        """Return the last meaningful lines, without colours, warnings and blank ones."""
        plain = (_COLOUR.sub("", line).strip() for line in self.log_tail.splitlines())
        return [line[:_WIDTH] for line in plain if line and not _NOISE.search(line)][-3:]


def failure_of(what: str, end: ChildEnd, limits: Limits, error: str) -> QnnFailure:
    """Explain the `end` of a child; `what` says what it did (as "compiling `x`").

    `error` is what the child itself reported, or empty when it had no time to.
    """
    peak = f"{end.peak_rss_bytes / 1e9:.1f} GB"
    tail = end.tail
    if end.cause == "timeout":
        reason = (
            f"{what} for the HTP took longer than {limits.seconds:g} s and was stopped; how long "
            "it takes depends on the machine"
        )
        return QnnFailure(reason, f"raise the time limit, or {_SMALLER}", tail, "timeout")
    if end.cause == "memory":
        limit = f"{(limits.memory_bytes or 0) / 1e9:.1f} GB"
        reason = f"{what} for the HTP needed {peak} of memory here; the limit is {limit}"
        return QnnFailure(reason, f"raise the memory limit, or {_SMALLER}", tail, "memory")
    if _NO_MEMORY.search(f"{error}\n{tail}"):
        reason = f"{what}: the graph does not fit the HTP's memory (QNN error 1002)"
        return QnnFailure(reason, _SMALLER, tail, "device_memory")
    if error.startswith(("ModuleNotFoundError", "ImportError")):
        return QnnFailure(f"{what} for the HTP: {error}", INSTALL, tail, "missing")
    if error:
        reason = f"{what} for the HTP failed: {error.splitlines()[0]}"
        return QnnFailure(reason, _SEE, tail, "refused")
    if end.code == -signal.SIGKILL:
        reason = f"{what} for the HTP was killed by the system at {peak}, most likely for memory"
        return QnnFailure(reason, f"free memory, or {_SMALLER}", tail, "killed")
    if end.code < 0:
        name = signal.Signals(-end.code).name
        reason = f"{what} for the HTP crashed the vendor's library ({name}, at {peak})"
        hint = "the graph holds a form that it cannot compile; try the `npu` form of the model"
        return QnnFailure(reason, hint, tail, "crash")
    reason = f"{what} for the HTP ended with status {end.code} and without an answer"
    return QnnFailure(reason, _SEE, tail, "crash")
