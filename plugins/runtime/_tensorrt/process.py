"""Builds an engine in a child process, with limits on its time and memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from core.machine.child_process import Limits, Progress, asked_of_child
from plugins.runtime._tensorrt.failure import failure_of
from plugins.runtime._tensorrt.library import Library
from plugins.runtime._tensorrt.profiles import Profile

__all__ = ["Built", "Wanted", "build"]


@dataclass(frozen=True)
class Wanted:
    """What the builder is asked for, in its own words.

    `capabilities` are names of `ComputeCapability`, `flags` of `BuilderFlag`; `workspace_bytes` 0
    sets no limit, and an empty `timing_cache` keeps no times.
    """

    capabilities: Sequence[str]
    flags: Sequence[str]
    profiles: Sequence[Profile]
    optimisation_level: int
    workspace_bytes: int
    hardware_compatible: bool
    timing_cache: str


@dataclass(frozen=True)
class Built:
    """An engine as the child left it; `layers` is the builder's list, one line for each."""

    version: str
    inputs: list[str]
    outputs: list[str]
    layers: str
    warnings: list[str]
    seconds: float
    peak_rss_bytes: int


def build(
    model: Path,
    engine: Path,
    *,
    library: Library,
    wanted: Wanted,
    limits: Limits,
    folder: Path,
    progress: Progress | None = None,
) -> Built:
    """Build the ONNX file `model` into `engine`; temporary files go to `folder`.

    Raises StageError where the library refuses the graph or fails, DoesNotFitError where a limit
    was too low.
    """
    request: dict[str, Any] = {
        "module": library.module,
        "model": str(model.resolve()),
        "engine": str(engine.resolve()),
        **asdict(wanted),
    }
    end, answer = asked_of_child(
        "plugins.runtime._tensorrt.child",
        request,
        "tensorrt",
        limits=limits,
        folder=folder,
        progress=progress,
    )
    if end.cause != "exit" or end.code or "seconds" not in answer:
        engine.unlink(missing_ok=True)
        raise failure_of(answer, end, limits, library, model)
    return Built(peak_rss_bytes=end.peak_rss_bytes, **answer)
