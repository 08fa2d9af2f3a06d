"""How many of the machine's cores other processes keep busy while something is timed.

A time that was measured beside a browser, a build or another tenant says little about the model. So
every timing here watches the load, and says if it was measured under load.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass

import psutil

__all__ = ["HEAVY", "Load", "Watch", "facts_of", "load_in"]

#: The part of the cores that may be busy with other things before a time counts as under load.
HEAVY = 0.1
#: Shortest useful watch in seconds: the system counts in steps of a hundredth, for every core.
LEAST_S = 0.5
#: Seconds by which two such counts may differ.
STEPS_S = 0.1
#: Kinds of time that count as busy. `user` includes `guest`, and waiting for a disk is idle.
BUSY = ("user", "nice", "system", "irq", "softirq", "steal")


@dataclass(frozen=True)
class Load:
    """The average number of cores that `others` kept busy, of the `cores` this process may use.

    `heavy` says that this was a tenth of them or more: then a time is measured under load.
    """

    others: float
    cores: int
    heavy: bool

    @property
    def said(self) -> str:
        """Return the load in words."""
        return f"other processes kept {self.others:.1f} of {self.cores} cores busy"


class Watch:
    """Watches the cores from its creation until `load` is called."""

    def __init__(self) -> None:
        self._cores = _cores()
        self._started, self._busy, self._own = time.monotonic(), _busy(self._cores), _own()

    def load(self) -> Load | None:
        """Return the load until now; None if it is unknown, or was watched too shortly."""
        seconds = time.monotonic() - self._started
        busy, own = _busy(self._cores), _own()
        if seconds < LEAST_S or busy is None or self._busy is None:
            return None
        busy, own = busy - self._busy, own - self._own
        # Both are counted in steps, so that a quiet machine may come out slightly below zero.
        # Far below zero, the system does not count what its cores do: some sandboxes give zeros.
        if busy < own - max(STEPS_S, own * HEAVY):
            return None
        others = max(0.0, busy - own) / seconds
        return Load(others, len(self._cores), heavy=others >= HEAVY * len(self._cores))


def facts_of(load: Load | None) -> dict[str, float | int]:
    """Return a load as facts of what was timed; nothing where it is not known."""
    return {} if load is None else {"others_cores": load.others, "cores": load.cores}


def load_in(facts: Mapping[str, object]) -> Load | None:
    """Return the load that facts hold; None where they hold none."""
    others, cores = facts.get("others_cores"), facts.get("cores")
    if not isinstance(others, int | float) or not isinstance(cores, int):
        return None
    return Load(float(others), cores, heavy=others >= HEAVY * cores)


def _cores() -> list[int]:
    """Return the numbers of the cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def _busy(cores: list[int]) -> float | None:
    """Return the seconds that these cores were busy since the start; None if not counted."""
    try:
        each = psutil.cpu_times(percpu=True)
        return sum(getattr(each[core], kind, 0.0) for core in cores for kind in BUSY)
    except (
        OSError,
        psutil.Error,
        IndexError,
    ):  # a sandbox without /proc; a core that was taken out
        return None


def _own() -> float:
    """Return the core seconds that this process and its children used, ended ones too."""
    me = psutil.Process()
    times = me.cpu_times()
    total = times.user + times.system + times.children_user + times.children_system
    for child in me.children(recursive=True):
        with suppress(psutil.Error):
            times = child.cpu_times()
            total += times.user + times.system + times.children_user + times.children_system
    return float(total)
