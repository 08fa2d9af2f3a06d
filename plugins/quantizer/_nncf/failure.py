"""Explains how quantising with NNCF failed: what happened, at which node, and what to do."""

from __future__ import annotations

import signal
from collections.abc import Mapping
from typing import Any

from core import Artifact, StageError
from core.machine.child_process import ChildEnd, Limits

__all__ = ["OTHERWISE", "failure_of", "short"]

#: What to do where nothing makes NNCF take a graph.
OTHERWISE = "or quantise with another quantizer: precision=int8, precision=a8w8"
_LINES, _WIDTH = 3, 300


def failure_of(
    answer: Mapping[str, Any], end: ChildEnd, limits: Limits, artifact: Artifact
) -> StageError:
    """Return the error for a child that left `answer` and ended so."""
    at = f"at: {artifact.path}"
    if end.cause == "timeout":
        return StageError(
            f"NNCF took longer than {limits.seconds:g} s and was stopped",
            at,
            "raise the limit (quantizer.time_limit_s), give it fewer windows (quantizer.windows), "
            "or set no quantizer.min_snr_db",
        )
    said = str(answer.get("error", ""))
    if said.startswith(("ImportError", "ModuleNotFoundError")):
        return StageError(
            f"NNCF cannot be loaded: {short(said)}", "install it: pip install 'luthier[nncf]'"
        )
    place = answer.get("raised_in")
    where = f"raised in: {place}" if place else ""
    if "node" in answer:
        node, operator = answer["node"], answer["operator"]
        return StageError(
            f"NNCF does not quantise this graph; it fails at {operator} `{node}`",
            f"it says: {short(said)}",
            where,
            at,
            f"leave the node in float: quantizer.exclude=['{node}']",
            OTHERWISE,
        )
    if said:
        return StageError(
            f"NNCF does not quantise this graph: {short(said)}",
            where,
            at,
            "leave out the operators that it does not know: quantizer.exclude=[...]",
            OTHERWISE,
        )
    tail = [line for line in end.tail.splitlines() if line.strip()][-_LINES:]
    if end.code == -signal.SIGKILL:
        return StageError(
            f"NNCF was killed by the system at {end.peak_rss_bytes / 1e9:.1f} GB, most likely for "
            "memory",
            at,
            "free memory, or give it fewer or shorter windows: quantizer.windows, chunker.length",
        )
    how = signal.Signals(-end.code).name if end.code < 0 else f"status {end.code}"
    return StageError(f"NNCF's process ended ({how}) without an answer", at, *tail, OTHERWISE)


def short(text: str) -> str:
    """Return the library's words in one line, cut off where they are long."""
    return " ".join(text.split())[:_WIDTH]
