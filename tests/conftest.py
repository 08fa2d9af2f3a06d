"""What tests share: the command line in this process, with toy plugins and a store of its own."""

from __future__ import annotations

import functools
import gc
import importlib.metadata
import math
import os
import signal
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import hypothesis
import pytest

from core.cli import main
from core.config import discovery
from core.machine import machine_load
from core.plugin import hooks
from core.sweep.point_task import Task
from tests import toy, unconnected

# A developer's own account is none of the tests' business: without it nobody asks the network.
os.environ["QAIHUB_CLIENT_INI"] = str(Path(__file__).parent / "no account")
os.environ.pop("QAI_HUB_API_TOKEN", None)
# The same examples each time, so that what fails fails for everybody; and no limit on an example's
# time, which on shared cores is luck.
hypothesis.settings.register_profile("repeatable", derandomize=True, deadline=None, database=None)
hypothesis.settings.load_profile("repeatable")
# Tests in the background of a shell hear no Ctrl-C, nor would the programs that they start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
if "PYTEST_XDIST_WORKER" in os.environ:
    # One thread a worker: more threads than cores wait for each other. Read when torch is loaded.
    os.environ.setdefault("OMP_NUM_THREADS", "1")

RECIPE = """\
title: a toy
model: gain
dataset: ramp
calibration: ramp
graph: [copied]
quantizer: coarse
dsp: straight
chunker: even
runtime: distant
host: plain
evaluator: [largest]
reporter: [json]
"""


def pytest_xdist_auto_num_workers() -> int:
    """Run one worker more than there are cores: many tests wait for a process or for a lease."""
    return 1 + (len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1)


def pytest_collection_finish() -> None:
    """Leave all that was loaded for the tests out of later searches for garbage.

    Modules and tests are half a million objects; each full search would look at all of them.
    """
    gc.collect()
    gc.freeze()


@functools.cache
def installed(path: tuple[str, ...]) -> importlib.metadata.EntryPoints:  # noqa: ARG001  # the key
    """Return the entry points that `path` holds; no test of a command installs more on it."""
    return importlib.metadata.entry_points(group=hooks.PROJECT)


@dataclass
class Done:
    """How a command ended."""

    code: int
    out: str
    err: str

    def refused(self, words: Iterable[str]) -> None:
        """Check that the command was refused in these words, and that nothing ran."""
        assert self.code == 2, self.err or self.out
        for one in words:
            assert one in self.err
        assert "Traceback" not in self.err
        assert toy.RAN == []


Command = Callable[..., Done]


@pytest.fixture(scope="session")
def kept_fork_server() -> Iterator[None]:
    """Keep the server that starts the processes of points from one sweep to the next."""
    closes = Task.close
    Task.close = staticmethod(lambda: None)
    yield
    closes()
    Task.close = staticmethod(closes)


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a store that whole runs of all workers share, so that the model is converted once."""
    base = tmp_path_factory.getbasetemp()
    return (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "store"


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    """Return a recipe of toy plugins, in a file of its own."""
    file = tmp_path / "toy.yaml"
    file.write_text(RECIPE)
    return file


@pytest.fixture(scope="session")
def toys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder that installs the toys, for processes that have it on their path."""
    folder = tmp_path_factory.mktemp("toys")
    about = folder / "toys-1.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: toys\nVersion: 1\n")
    (about / "entry_points.txt").write_text("[luthier]\ntoys = tests.toy\n")
    return folder


@pytest.fixture
def unconnected_processes(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Iterator[None]:
    """Fail the test if a process that it started connected anywhere."""
    folder = tmp_path_factory.mktemp("guard")
    unconnected.write_guard(folder)
    monkeypatch.setenv("PYTHONPATH", str(folder))
    yield
    assert unconnected.heard(folder) == []


@pytest.fixture
def command(
    tmp_path: Path,
    toys: Path,
    kept_fork_server: None,  # noqa: ARG001  # for its effect
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Iterator[Command]:
    """Return a function that runs `python -m core ...` in this process, with the toys added."""
    monkeypatch.setattr(main, "discover", lambda: discovery.discover({"toy": toy}))
    monkeypatch.setattr(discovery, "entry_points", lambda: installed(tuple(sys.path)))
    # Whether the machine is busy while tests run is none of their business.
    monkeypatch.setattr(machine_load, "LEAST_S", math.inf)
    monkeypatch.setenv("PYTHONPATH", str(toys))  # for the points of a sweep
    monkeypatch.chdir(tmp_path)
    toy.RAN.clear()

    def run(*arguments: str) -> Done:
        capsys.readouterr()
        code = 0
        try:
            own = any(word.startswith("store=") for word in arguments)
            main.main([*([] if own else [f"store={tmp_path / 'store'}"]), *arguments])
        except SystemExit as ended:
            code = int(ended.code or 0)
        captured = capsys.readouterr()
        return Done(code, captured.out, captured.err)

    yield run
    sys.argv = ["pytest"]
