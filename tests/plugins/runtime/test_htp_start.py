"""How the child of the HTP runtimes starts, and that it does not outlive its parent."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from plugins.runtime.htp.start import child_command, child_environment
from plugins.runtime.htp.watched import Limits, run_watched

ROOT = Path(__file__).parents[3]
linux = pytest.mark.skipif(
    sys.platform != "linux", reason="Linux tells a child of its parent's death"
)


def ask_nothing(folder: Path) -> tuple[int, str]:
    """Start the child with an action that it lacks; return its status and what it answered."""
    request, answer = folder / "request.json", folder / "answer.json"
    request.write_text(json.dumps({"action": "nothing", "answer": str(answer)}))
    end = run_watched(child_command(request), limits=Limits(60),
                      environment=child_environment(), folder=folder)  # fmt: skip
    assert answer.is_file(), end.tail
    return end.code, json.loads(answer.read_text())["error"]


@pytest.mark.parametrize("where", ["PYTHONPATH", "folder"])
def test_nothing_foreign_is_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    """Neither along PYTHONPATH nor from the folder that the child starts in."""
    hostile, folder = tmp_path / "hostile", tmp_path / "folder"
    hostile.mkdir()
    folder.mkdir()
    if where == "PYTHONPATH":
        monkeypatch.setenv("PYTHONPATH", str(hostile))
        monkeypatch.syspath_prepend(str(hostile))
    mark = tmp_path / "was_run"
    for name in ("sitecustomize", "usercustomize", "json", "ctypes", "plugins"):
        code = f"open({str(mark)!r}, 'a').write({name!r})\n"
        ((hostile if where == "PYTHONPATH" else folder) / f"{name}.py").write_text(code)
    assert ask_nothing(folder) == (1, "KeyError: 'nothing'")
    assert not mark.exists()


def test_libraries_that_only_the_parent_finds_are_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where a cluster lends its packages through PYTHONPATH; they come last."""
    monkeypatch.syspath_prepend(str(tmp_path))
    *_, folders = child_command(tmp_path / "request.json")
    first, *others = json.loads(folders)
    assert (first, str(tmp_path) in others) == (str(ROOT), True)


def test_the_environment_steers_no_python(monkeypatch: pytest.MonkeyPatch) -> None:
    """What Python reads is gone, telemetry is off, and the rest is as it was."""
    monkeypatch.setenv("PYTHONSTARTUP", "x.py")
    monkeypatch.setenv("ORT_DISABLE_TELEMETRY", "0")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    environment = child_environment()
    assert not [name for name in environment if name.startswith("PYTHON")]
    assert environment["ORT_DISABLE_TELEMETRY"] == "1"
    assert environment["OMP_NUM_THREADS"] == "1"


@pytest.mark.skipif(sys.platform != "linux", reason="the cache lies elsewhere")
def test_onnxruntime_leaves_no_trace(tmp_path: Path) -> None:
    """With the child's environment, ONNX Runtime writes no identifier and no event."""
    pytest.importorskip("onnxruntime")
    homes = {"HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    subprocess.run(
        [sys.executable, "-I", "-c", "import onnxruntime; onnxruntime.SessionOptions()"],
        env={**child_environment(), **homes},
        check=True,
    )
    assert list(tmp_path.iterdir()) == []


PARENT = """
import sys
from pathlib import Path
from plugins.runtime.htp.start import child_command, child_environment
from plugins.runtime.htp.watched import Limits, run_watched
request = Path(sys.argv[1])
run_watched(child_command(request), limits=Limits(60), environment=child_environment(),
            folder=request.parent)
"""


@linux
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_no_child_survives_its_parent(tmp_path: Path, number: signal.Signals) -> None:
    """Not even where the parent cannot clean up: here no handler turns SIGTERM into an exit."""
    request = tmp_path / "request.json"
    os.mkfifo(request)  # the child waits for what it is asked for, until its parent is gone
    parent = subprocess.Popen([sys.executable, "-c", PARENT, str(request)], cwd=ROOT)
    with parent, open_once_read(request):
        (child,) = psutil.Process(parent.pid).children()
        assert child.is_running()
        parent.send_signal(number)
        assert parent.wait(10) == -number
        child.wait(10)  # raises TimeoutExpired for a child that lives on


@linux
def test_a_child_that_comes_too_late_ends_at_once(tmp_path: Path) -> None:
    """A parent that died before the child could ask for the signal is noticed too."""
    request = tmp_path / "request.json"
    os.mkfifo(request)
    command = child_command(request)
    command[command.index(str(os.getpid()))] = "1"
    end = run_watched(command, limits=Limits(60), environment=child_environment(), folder=tmp_path)
    assert (end.cause, end.code) == ("exit", 1)
    assert "the parent died" in end.tail


@contextlib.contextmanager
def open_once_read(fifo: Path) -> Iterator[None]:
    """Hold the writing end of `fifo` open, from when somebody reads from it."""
    deadline = time.monotonic() + 60
    while True:
        try:
            end = os.open(fifo, os.O_WRONLY | os.O_NONBLOCK)
            break
        except OSError:  # nobody reads yet
            assert time.monotonic() < deadline, "the child never read its request"
            time.sleep(0.02)
    try:
        yield
    finally:
        os.close(end)
