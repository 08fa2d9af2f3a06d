"""What other processes keep of the cores while something is timed."""

from __future__ import annotations

import subprocess
import sys
import time
from types import SimpleNamespace

import psutil
import pytest

from core.machine import machine_load
from core.machine.machine_load import Load, Watch, facts_of, load_in

#: A program that keeps a core busy for a second of it.
COUNT = "import time\nwhile time.process_time() < 1: pass"


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """Return what the system counts, to be set by hand: a quiet machine of four cores."""
    now = SimpleNamespace(seconds=0.0, busy=0.0, own=0.0)
    monkeypatch.setattr(machine_load, "_cores", lambda: [0, 1, 2, 3])
    monkeypatch.setattr(machine_load, "_busy", lambda _: now.busy)
    monkeypatch.setattr(machine_load, "_own", lambda: now.own)
    monkeypatch.setattr(machine_load, "time", SimpleNamespace(monotonic=lambda: now.seconds))
    return now


@pytest.mark.parametrize(
    ("others", "heavy"), [(0.0, False), (3.9, False), (4.0, True), (4.1, True), (20.0, True)]
)
def test_a_tenth_of_the_cores_is_a_load(clock: SimpleNamespace, others: float, heavy: bool) -> None:
    """Four cores have 40 s in ten seconds: 3.9 s of other processes are no load, 4 s are."""
    watch = Watch()
    clock.seconds, clock.own, clock.busy = 10.0, 15.0, 15.0 + others
    assert watch.load() == Load(pytest.approx(others / 10), 4, heavy)  # type: ignore[arg-type]  # a number


def test_what_this_process_does_is_no_load(clock: SimpleNamespace) -> None:
    """Work of this process is no load, nor is a rounding of a hundredth by the system."""
    watch = Watch()
    clock.seconds, clock.own, clock.busy = 2.0, 8.0, 7.98
    assert watch.load() == Load(0.0, 4, heavy=False)


def test_too_short_a_time_tells_nothing(clock: SimpleNamespace) -> None:
    """Too short a time gives no load: the system counts in hundredths of a second."""
    watch = Watch()
    clock.seconds, clock.busy = 0.49, 2.0
    assert watch.load() is None
    clock.seconds = 0.5
    assert watch.load() == Load(4.0, 4, heavy=True)


def test_a_system_that_does_not_count_has_no_load(monkeypatch: pytest.MonkeyPatch) -> None:
    """A system without counters has no load value, which does not mean a quiet machine."""

    def refused(**_: bool) -> None:
        raise psutil.AccessDenied

    monkeypatch.setattr(psutil, "cpu_times", refused)
    watch = Watch()
    watch._started -= 1
    assert watch.load() is None
    assert facts_of(None) == {}
    assert load_in({}) is None


def test_facts_hold_a_load() -> None:
    """Facts hold the load that is kept beside the timed result."""
    load = Load(0.25, 2, heavy=True)
    assert load_in(facts_of(load)) == load
    assert load.said == "other processes kept 0.2 of 2 cores busy"


def test_a_system_that_counts_nothing_has_no_load(clock: SimpleNamespace) -> None:
    """A sandbox whose counters are all zero has no load value."""
    watch = Watch()
    clock.seconds, clock.own = 2.0, 8.0
    assert watch.load() is None


def test_a_child_is_this_process_and_a_stranger_is_not() -> None:
    """Children count as this process; strangers and reparented grandchildren do not."""
    own = machine_load._own()
    subprocess.run([sys.executable, "-c", COUNT], check=True, timeout=10)
    assert machine_load._own() - own > 0.4
    stranger = "import subprocess, sys; subprocess.Popen([sys.executable, '-c', sys.argv[1]])"
    subprocess.run([sys.executable, "-c", stranger, COUNT], check=True, timeout=10)
    watch = Watch()
    time.sleep(0.6)
    load = watch.load()
    assert load is not None
    assert load.others > 0.2
    assert load.cores == len(machine_load._cores())
