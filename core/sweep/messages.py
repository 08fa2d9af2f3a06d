"""What a sweep and the process of one point send each other: plain data, as JSON."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Literal

import msgspec

from core.machine.machine_load import Load
from core.plugin.values import Metric

__all__ = ["PointResult", "PointTask", "read_task", "written"]


@dataclass(frozen=True)
class PointTask:
    """What the process of one point is to do.

    `recipes` holds the text of recipes that were given as files, by path, because another machine
    may not have them. `folder` is where the run folder goes, "" if that is on another machine.
    `cores` and `lock` are its share of the machine (core/machine/cores.py). The process writes its
    `PointResult` to the file `answer`, and prints to the file `log`. `made` names the steps that an
    earlier process of the same point ran; None before there was one. `plugins` are the modules of
    the sweep's plugins and `libraries` those that they need: slow work with them is done once for
    all points. `rates` asks only how good FP32 PyTorch is in the windows of the point.
    """

    overrides: tuple[str, ...]
    recipes: dict[str, str]
    sweep: str
    folder: str
    cwd: str
    cores: int | None
    lock: str
    answer: str
    log: str
    verbose: bool = False
    made: tuple[str, ...] | None = None
    plugins: tuple[str, ...] = ()
    libraries: tuple[str, ...] = ()
    rates: bool = False


@dataclass(frozen=True)
class PointResult:
    """The result of a point; `figures` are values with their devices.

    `spreads` holds the 5th and the 95th percentile of those that are times, and `load` what other
    processes did while they were measured.

    `ran` and `cached` name the steps that were computed and those that the store had; `placed` says
    that the run folder was written where the sweep wants it. `again` asks for another process: the
    steps before the playing are made, and the peak memory of the playing must be its own.
    `damaged` has a line for every damaged file that had to be made again. `never_run` says why
    nothing ran the compiled model.
    """

    status: Literal["done", "missed", "refused", "failed"]
    why: str = ""
    lines: tuple[str, ...] = ()
    exit_code: int = 0
    figures: dict[str, tuple[float, str]] = field(default_factory=dict)
    metrics: tuple[Metric, ...] = ()
    ran: tuple[str, ...] = ()
    cached: tuple[str, ...] = ()
    seconds: float = 0.0
    placed: bool = False
    on_target: bool = False
    again: bool = False
    damaged: tuple[str, ...] = ()
    spreads: dict[str, tuple[float, float]] = field(default_factory=dict)
    load: Load | None = None
    never_run: str = ""


def written(task: PointTask) -> bytes:
    """Return a task as a line of JSON; a file name in it may be no UTF-8."""
    return json.dumps(msgspec.to_builtins(task)).encode() + b"\n"


def read_task(line: bytes) -> PointTask:
    """Return the task in a line; msgspec's own reader rejects half of a surrogate pair."""
    return msgspec.convert(json.loads(line), PointTask)
