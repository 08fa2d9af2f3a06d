"""What a worker of a sweep starts ends with it, however that ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import psutil
import pytest

from core.sweep.messages import PointTask
from tests.conftest import RECIPE
from tests.processes import gone

ROOT = Path(__file__).parents[3]
WORKER = """
import sys
import msgspec
from core.sweep.messages import PointTask
from core.sweep.fork_server import ForkServer

ForkServer().run(msgspec.json.decode(sys.argv[1], type=PointTask))
"""
posix = pytest.mark.skipif(not hasattr(os, "fork"), reason="a system that copies processes")


def until(log: Path, text: str) -> None:
    """Wait until a point says something."""
    deadline = time.monotonic() + 60
    while not (log.is_file() and text in log.read_text()):
        assert time.monotonic() < deadline, "no point was started"
        time.sleep(0.05)


@posix
@pytest.mark.parametrize("who", ["the worker", "the fork server"])
def test_no_process_of_a_point_lives_on(tmp_path: Path, toys: Path, who: str) -> None:
    """All processes end within 2 s, whichever of their ancestors SIGKILL strikes."""
    log, store = tmp_path / "log", tmp_path / "store"
    overrides = ("recipe=toy", "reporter=[terminal]", "quantizer.seconds=600", f"store='{store}'")
    task = PointTask(
        overrides, {"toy": RECIPE}, "", "", str(tmp_path), None, "", str(tmp_path / "told"),
        str(log), made=(),
    )  # fmt: skip
    paths = os.pathsep.join(map(str, (ROOT, toys)))
    given = msgspec.json.encode(task).decode()
    with subprocess.Popen(
        [sys.executable, "-c", WORKER, given], cwd=ROOT, env={**os.environ, "PYTHONPATH": paths}
    ) as worker:
        until(log, "quantise: running")
        (guard,) = psutil.Process(worker.pid).children()
        (fork_server,) = guard.children()
        (point,) = fork_server.children()
        struck = {"the worker": worker, "the fork server": fork_server}[who]
        struck.send_signal(signal.SIGKILL)
        deadline = time.monotonic() + 2
        for process in (guard, fork_server, point):
            assert gone(process.pid, deadline - time.monotonic()), process
        worker.wait(20)
    if who == "the worker":
        assert not list(store.glob("staging/*")), "it had the time to clean up"
