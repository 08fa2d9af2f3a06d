"""The process of a point, as a worker sees it: what it answers, and how it ends.

Every point here runs in a process of its own; all but the last tests share what they are copies of.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import psutil
import pytest

from core.machine import cores
from core.store.sealed import write_sealed
from core.sweep.folder import found
from core.sweep.messages import PointResult
from core.sweep.point_task import Job, Task, _lock, summary
from tests.conftest import RECIPE
from tests.processes import gone

ROOT = Path(__file__).parent.parent.parent.parent
JOB = Job(1, "a=1", "a-1", "key")
#: What a worker of a launcher does with one point.
WORKER = """
import sys
import msgspec
from core.sweep.point_task import Job, Task

task = Task(**msgspec.json.decode(sys.argv[1]))
task.run(Job(1, "a=1", "a-1", "key"), tuple(sys.argv[2:]))
"""


@pytest.fixture(scope="module", autouse=True)
def fork_server(toys: Path) -> Iterator[None]:
    """Let the processes of points know the toys; end what starts them after the last test."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(toys))
        yield
        Task.close()


@pytest.fixture
def task(tmp_path: Path) -> Task:
    """Return what runs points of a sweep whose folder is on this machine."""
    sweep = uuid.uuid4().hex[:8]
    (tmp_path / "sweep" / "points").mkdir(parents=True)
    write_sealed(tmp_path / "sweep" / "points" / "sweep", sweep)
    return Task(
        sweep=sweep,
        place=str(tmp_path / "sweep"),
        cwd=str(tmp_path),
        recipes={"toy": RECIPE},
        fixed=(f"store='{tmp_path / 'store'}'",),
        retries=1,
    )


Run = Callable[..., PointResult]


@pytest.fixture
def run(task: Task) -> Run:
    """Return a function that runs one point."""
    return lambda *overrides: task.run(JOB, ("recipe=toy", *overrides, *task.fixed))


def test_a_point_answers_with_its_figures(run: Run, tmp_path: Path) -> None:
    """The point's run folder, its log and its record are in the sweep's folder."""
    result = run("chunker.length=4")
    assert (result.status, result.why, result.placed) == ("done", "", True)
    assert result.figures["snr"][1] == "a pocket calculator"
    assert result.figures["size"][1] == "the file"
    assert "play" in result.ran
    assert result.cached == ()
    place = tmp_path / "sweep"
    assert (place / "a-1" / "report.json").is_file()
    assert (place / "logs" / "a-1.log").is_file()
    assert found(place, "key", "a-1") == result


def test_a_point_takes_from_the_store_what_another_made(run: Run) -> None:
    """A point takes shared results from the store and reports it."""
    run("chunker.length=4")
    result = run("chunker.length=4", "quantizer.loss=0.1")
    assert {"model", "reference"} <= set(result.cached)
    assert {"quantizer", "play"} <= set(result.ran)


def test_a_point_that_breaks_its_contract_has_figures_too(run: Run) -> None:
    """A missed contract keeps its figures, with the misses and the exit code of a run."""
    result = run("quantizer.loss=0.5", "contract.min_snr_db=30")
    assert (result.status, result.exit_code) == ("missed", 3)
    assert result.figures["snr"][0] < 30
    assert "min_snr_db" in "\n".join((result.why, *result.lines))


@pytest.mark.parametrize(
    ("override", "status", "said"),
    [
        ("runtime.room=5", "refused", "8 places do not fit"),
        ("target=s24", "refused", "`s24`"),
        ("quantizer.fail=bug", "failed", "quantizer `coarse` failed: ZeroDivisionError"),
        ("quantizer.fail=memory", "failed", "ran out of memory"),
        ("chunker.length=abc", "failed", "`chunker.length` cannot be `abc`"),
        ("recipe=nobody", "failed", "no recipe is named `nobody`"),
    ],
)
def test_what_goes_wrong_is_told_in_the_words_of_a_run(
    task: Task, override: str, status: str, said: str
) -> None:
    """Errors are answered in the words of a run, without an exception or a traceback."""
    own = () if override.startswith("recipe") else ("recipe=toy",)
    result = task.run(JOB, (*own, override, *task.fixed))
    assert result.status == status
    assert said in result.why
    assert result.lines
    assert not result.figures


def test_a_point_whose_process_is_killed_has_as_many_tries_as_are_left(run: Run) -> None:
    """A killed point has the remaining tries, its signal is named, and the next point runs."""
    result = run("quantizer.fail=kill")
    assert result.status == "failed"
    assert result.why == "its process ended 2 times without an answer (signal 9)"
    assert run("quantizer.fail='kill once'").status == "done"


def test_an_interrupt_in_a_point_is_one_of_the_sweep(run: Run) -> None:
    """Ctrl-C in a point ends the whole sweep, and is no failure of the point."""
    with pytest.raises(KeyboardInterrupt):
        run("quantizer.fail=interrupt")


def test_a_worker_elsewhere_writes_nothing_but_its_answer(run: Run, tmp_path: Path) -> None:
    """A worker elsewhere writes no files, as a folder of that path may be another sweep's."""
    write_sealed(tmp_path / "sweep" / "points" / "sweep", "another")
    result = run()
    assert (result.status, result.placed) == ("done", False)
    assert "snr" in result.figures
    assert [p.name for p in (tmp_path / "sweep").rglob("*") if p.is_file()] == ["sweep"]


@contextmanager
def measuring(sweep: str) -> Iterator[None]:
    """Be another point that measures, so that all others wait."""
    other = cores.CoreShare(1, _lock(sweep))
    with other.exclusive(pytest.fail):
        yield


def printed(log: Path, text: str) -> None:
    """Wait until a point says something."""
    for _ in range(600):
        if log.is_file() and text in log.read_text():
            return
        time.sleep(0.1)
    raise AssertionError(log.read_text() if log.is_file() else "no point was started")


def test_the_process_of_a_point_ends_with_its_worker(task: Task, tmp_path: Path) -> None:
    """A kill of the worker, as by a cluster, leaves no process and no unfinished result."""
    given = msgspec.json.encode(task).decode()
    overrides = ["recipe=toy", "reporter=[terminal]", "quantizer.seconds=600", *task.fixed]
    worker = subprocess.Popen(
        [sys.executable, "-c", WORKER, given, *overrides],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{os.environ['PYTHONPATH']}"},
        stderr=subprocess.PIPE,
    )
    printed(tmp_path / "sweep" / "logs" / "a-1.log", "quantise: running")
    started = psutil.Process(worker.pid).children(recursive=True)
    worker.kill()
    assert len(started) > 1
    assert all(gone(process.pid) for process in started)
    _, err = worker.communicate()
    assert err == b""
    assert not list(tmp_path.glob("store/quantizer/*/artifact.json"))
    assert not list(tmp_path.glob("store/staging/*"))
    assert not (tmp_path / "sweep" / "points" / "key.json").exists()


def test_a_point_runs_again_where_what_started_it_was_killed(task: Task, tmp_path: Path) -> None:
    """A point runs again if its parent process is killed, as by a system out of memory."""
    task.beside = True
    answers: list[PointResult] = []
    overrides = ("recipe=toy", "reporter=[terminal]", *task.fixed)
    thread = threading.Thread(target=lambda: answers.append(task.run(JOB, overrides)))
    with measuring(task.sweep):
        thread.start()
        printed(tmp_path / "sweep" / "logs" / "a-1.log", "measuring; waiting")
        # Its parent is this process, which other tests may have let start processes too.
        (parent,) = (
            p for p in psutil.Process().children() if "core.sweep.point_process" in p.cmdline()
        )
        started = parent.children(recursive=True)
        assert started
        parent.send_signal(signal.SIGKILL)
        assert psutil.wait_procs([parent, *started], timeout=60)[1] == []
    thread.join(timeout=60)
    assert [result.status for result in answers] == ["done"]


@pytest.mark.parametrize(
    ("result", "said"),
    [
        (PointResult("done", ran=("play", "save"), seconds=2.4), "done, 2 steps ran in 2 s"),
        (PointResult("missed", "too slow", ran=("play",)), "missed, too slow; 1 step ran in 0 s"),
        (PointResult("refused", "no room"), "refused: no room"),
        (PointResult("failed", "a bug"), "failed: a bug"),
    ],
)
def test_a_point_is_summed_up_in_a_line(result: PointResult, said: str) -> None:
    """The line of a point also holds its message."""
    assert summary(result) == said


@pytest.mark.skipif(not hasattr(os, "getuid"), reason="users of this system have names alone")
def test_points_side_by_side_need_no_name_of_the_user(monkeypatch: pytest.MonkeyPatch) -> None:
    """A user without a name, as in a container, has a folder for the locks by the number."""
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os, "getuid", lambda: 54321)
    assert _lock("sweep").parts[-2:] == ("luthier-54321", "sweep")
