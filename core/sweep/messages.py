"""What is said between a sweep and the process of one point: plain data, sent as JSON."""

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

    `recipes` holds the text of recipes that were given as files, by path, for another machine may
    not have them. `folder` is where the run folder goes, "" where that is on another machine.
    `cores` and `lock` are its share of the machine (core/machine/cores.py), `answer` is the file
    that `PointResult` is written to; what the process prints goes to `log`. `made` names the steps
    that an earlier process of the same point ran; None before there was one. `plugins` and
    `libraries` are the modules of the sweep's plugins and those that these need: what takes long
    with them is done once for all points. `rates` asks for how good FP32 PyTorch is in the windows
    of the point, and for nothing else.
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
    """What became of a point; `figures` are values with their devices.

    `spreads` holds the 5th and the 95th percentile of those that are times, and `load` what other
    processes did while they were taken.

    `ran` and `cached` name the steps that were computed and those that the store had; `placed` says
    that the run folder was written where the sweep wants it. `again` asks for another process: what
    comes before the playing is made, and the peak memory of the playing is to be its own.
    `damaged` has a line for everything that was kept and had to be made again.
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


def written(task: PointTask) -> bytes:
    """Return a task as a line of JSON; a file name in it may be no UTF-8."""
    return json.dumps(msgspec.to_builtins(task)).encode() + b"\n"


def read_task(line: bytes) -> PointTask:
    """Return the task in a line; msgspec's own reader takes no half of a surrogate pair."""
    return msgspec.convert(json.loads(line), PointTask)
