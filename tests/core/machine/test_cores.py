"""The part of the machine that a process may use, and the times when it has all of it."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from core.machine import cores

ROOT = Path(__file__).parents[3]

#: A process that runs blocks on its share and prints when each began and ended, by the clock that
#: all processes of a machine have in common.
BLOCKS = """
import sys, time
from pathlib import Path
from core.machine import cores

cores.take(cores.CoreShare(1, Path(sys.argv[1])))
print("ready", flush=True)
sys.stdin.readline()
for kind in sys.argv[2]:
    with (cores.exclusive if kind == "t" else cores.shared)(lambda why: None):
        begun = time.monotonic_ns()
        time.sleep(0.02)
        print(kind, begun, time.monotonic_ns(), flush=True)
"""

#: A process that holds one block until it is told to let go.
HOLDS = """
import sys
from pathlib import Path
from core.machine import cores

cores.take(cores.CoreShare(1, Path(sys.argv[1])))
waits = lambda why: print(f"waits: {why}", flush=True)
with (cores.exclusive if sys.argv[2] == "t" else cores.shared)(waits):
    print("holds", flush=True)
    sys.stdin.readline()
print("done", flush=True)
"""

#: A process that holds one block until it is told to let go, and gives way meanwhile.
GIVES_WAY = """
import sys, threading
from pathlib import Path
from core.machine import cores

cores.take(cores.CoreShare(1, Path(sys.argv[1])))
waits = lambda why: print(f"waits: {why}", flush=True)
told = threading.Event()
threading.Thread(target=lambda: (sys.stdin.readline(), told.set()), daemon=True).start()
with cores.shared(waits):
    print("holds", flush=True)
    while not told.wait(0.01):
        cores.yield_to_exclusive(waits)
print("done", flush=True)
"""


@dataclass(frozen=True)
class Block:
    """One block that a process ran, from `begun` to `ended`."""

    process: int
    timed: bool
    begun: int
    ended: int

    def beside(self, other: Block) -> bool:
        """Return whether both ran at some time."""
        return self.begun < other.ended and other.begun < self.ended


@contextmanager
def started(script: str, lock: Path, kind: str) -> Iterator[subprocess.Popen[str]]:
    """Start a process that shares `lock`, and leave none behind."""
    with subprocess.Popen(
        [sys.executable, "-c", script, str(lock), kind],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,  # the trace of a KeyboardInterrupt
        cwd=ROOT,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def line(process: subprocess.Popen[str]) -> str:
    """Return the next line that a process prints."""
    assert process.stdout is not None
    return process.stdout.readline().strip()


def go_on(process: subprocess.Popen[str]) -> None:
    """Tell a process to go on."""
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()


def blocks(lock: Path, *kinds: str) -> list[Block]:
    """Return the blocks of processes that run at the same time."""
    with contextlib.ExitStack() as stack:
        processes = [stack.enter_context(started(BLOCKS, lock, kind)) for kind in kinds]
        for process in processes:
            assert line(process) == "ready"
        for process in processes:
            go_on(process)
        printed = [process.communicate(timeout=60)[0].split("\n") for process in processes]
    return [
        Block(number, words[0] == "t", int(words[1]), int(words[2]))
        for number, text in enumerate(printed)
        for words in map(str.split, filter(None, text))
    ]


def test_what_is_timed_runs_beside_nothing(tmp_path: Path) -> None:
    """Three processes time and do other work as fast as they can; timed work runs alone."""
    found = blocks(tmp_path / "lock", "btbbt", "bbtb", "tbtb")
    assert len(found) == 13
    for one in found:
        others = [other for other in found if other.process != one.process]
        if one.timed:
            assert not any(one.beside(other) for other in others)


def test_what_is_not_timed_runs_side_by_side(tmp_path: Path) -> None:
    """Two processes that are not timed hold the lock at once."""
    with contextlib.ExitStack() as stack:
        two = [stack.enter_context(started(HOLDS, tmp_path / "lock", "b")) for _ in range(2)]
        assert [line(process) for process in two] == ["holds", "holds"]
        for process in two:
            go_on(process)


def test_a_newcomer_waits_behind_what_wants_to_be_alone(tmp_path: Path) -> None:
    """Newcomers wait behind a process that wants to be alone, and all processes finish."""
    with contextlib.ExitStack() as stack:
        first = stack.enter_context(started(HOLDS, tmp_path / "lock", "b"))
        assert line(first) == "holds"
        timed = stack.enter_context(started(HOLDS, tmp_path / "lock", "t"))
        assert line(timed) == "waits: another job of the sweep is measuring; waiting"
        newcomer = stack.enter_context(started(HOLDS, tmp_path / "lock", "b"))
        assert line(newcomer) == "waits: another job of the sweep is about to measure; waiting"
        go_on(first)
        assert line(timed) == "holds"
        go_on(timed)
        assert line(newcomer) == "holds"
        go_on(newcomer)
        assert [line(process) for process in (first, timed, newcomer)] == ["done"] * 3


def test_who_gives_way_lets_in_what_is_timed_and_goes_on_afterwards(tmp_path: Path) -> None:
    """A long block lets timed work in at its middle, so that no core idles until its end."""
    with contextlib.ExitStack() as stack:
        first = stack.enter_context(started(GIVES_WAY, tmp_path / "lock", ""))
        assert line(first) == "holds"
        for _ in range(2):
            timed = stack.enter_context(started(HOLDS, tmp_path / "lock", "t"))
            assert line(timed) == "holds"
            assert line(first) == "waits: another job of the sweep is measuring; waiting"
            go_on(timed)
            assert line(timed) == "done"
        go_on(first)
        assert line(first) == "done"


@pytest.mark.skipif(sys.platform == "win32", reason="SIGINT, as a terminal sends it")
def test_who_waits_hears_ctrl_c(tmp_path: Path) -> None:
    """Ctrl-C ends a wait for the lock, and other processes can then enter."""
    with contextlib.ExitStack() as stack:
        first = stack.enter_context(started(HOLDS, tmp_path / "lock", "b"))
        assert line(first) == "holds"
        timed = stack.enter_context(started(HOLDS, tmp_path / "lock", "t"))
        assert line(timed).startswith("waits: ")
        timed.send_signal(signal.SIGINT)
        assert timed.wait(timeout=60) != 0
        newcomer = stack.enter_context(started(HOLDS, tmp_path / "lock", "b"))
        assert line(newcomer) == "holds"
        go_on(newcomer)


@pytest.mark.parametrize("kind", ["b", "t"])
def test_a_process_that_is_killed_holds_nothing(tmp_path: Path, kind: str) -> None:
    """The system releases the locks of a killed process."""
    with started(HOLDS, tmp_path / "lock", kind) as killed:
        assert line(killed) == "holds"
        killed.kill()
    with started(HOLDS, tmp_path / "lock", "t") as next_one:
        assert line(next_one) == "holds"
        go_on(next_one)


@pytest.fixture
def own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Let this process take two cores of a machine that it shares."""
    monkeypatch.setattr(cores, "_share", cores.CoreShare())
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    cores.take(cores.CoreShare(2, tmp_path / "lock"))


def alone() -> contextlib.AbstractContextManager[None]:
    """Run a block alone; nobody else is here to be waited for."""
    return cores.exclusive(pytest.fail)


def test_a_process_that_shares_nothing_may_start_as_many_threads_as_it_likes() -> None:
    """A process that shares nothing, as a run by itself, may start any number of threads."""
    assert cores.threads() == 0
    with alone():
        assert cores.threads() == 0


@pytest.mark.usefixtures("own")
def test_a_share_says_how_many_threads() -> None:
    """A share limits the threads of OpenMP, which torch reads when it is loaded, and of plugins."""
    assert os.environ["OMP_NUM_THREADS"] == "2"
    assert cores.threads() == 2
    with cores.shared(pytest.fail):
        assert cores.threads() == 2


@pytest.mark.usefixtures("own")
def test_what_is_timed_has_every_core() -> None:
    """Processes started and libraries loaded in timed work see no limit of cores."""
    with alone():
        assert cores.threads() == 0
        assert "OMP_NUM_THREADS" not in os.environ
    assert cores.threads() == 2
    assert os.environ["OMP_NUM_THREADS"] == "2"


@pytest.mark.usefixtures("own")
def test_the_share_is_back_after_what_was_timed_failed() -> None:
    """After timed work fails, the share is restored and the lock is free."""

    def fails() -> None:
        with alone():
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fails()
    assert cores.threads() == 2
    assert os.environ["OMP_NUM_THREADS"] == "2"
    with alone():
        pass


@pytest.mark.usefixtures("own")
def test_who_holds_nothing_has_no_way_to_give() -> None:
    """Giving way does nothing for non-holders, for exclusive holders, and for other threads."""
    cores.yield_to_exclusive(pytest.fail)
    with alone():
        cores.yield_to_exclusive(pytest.fail)
    with cores.shared(pytest.fail):
        thread = threading.Thread(target=cores.yield_to_exclusive, args=(pytest.fail,))
        thread.start()
        thread.join()
        cores.yield_to_exclusive(pytest.fail)


@pytest.mark.usefixtures("own")
def test_torch_has_every_core_while_timed_and_its_share_again_afterwards() -> None:
    """torch, loaded before, has every core in timed work and its share afterwards."""
    torch = pytest.importorskip("torch")
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        with alone():
            assert torch.get_num_threads() == os.cpu_count()
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
