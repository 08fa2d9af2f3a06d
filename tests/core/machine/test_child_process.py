"""A child process: its limits, what it runs, and that it does not outlive its parent."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import psutil
import pytest

from core.machine.child_process import Limits, child_environment, python_child, run_watched
from tests.processes import gone, written

ROOT = Path(__file__).parents[3]
posix = pytest.mark.skipif(not hasattr(os, "killpg"), reason="POSIX signals")


def python(code: str) -> list[str]:
    """Return the command that runs `code`."""
    return [sys.executable, "-c", textwrap.dedent(code)]


@pytest.mark.skipif(not hasattr(os, "getsid"), reason="sessions")
def test_the_memory_limit_counts_grandchildren(tmp_path: Path) -> None:
    """A grandchild that takes 300 MB breaks a limit of 150 MB, and dies with the child."""
    code = f"""
        import subprocess, sys
        subprocess.run([sys.executable, "-c",
            "import os, time; print(os.getpid(), file=open({str(tmp_path / "pid")!r}, 'w'));"
            "kept = b'x' * 300_000_000; time.sleep(60)"])
        """
    end = run_watched(python(code), limits=Limits(60, 150_000_000), folder=tmp_path)
    assert end.cause == "memory"
    assert end.peak_rss_bytes > 150_000_000
    assert end.seconds < 30
    assert gone(written(tmp_path / "pid"))


@pytest.mark.skipif(sys.platform != "linux", reason="RLIMIT_DATA covers everything on Linux only")
def test_a_hard_limit_leaves_no_time_to_break_it(tmp_path: Path) -> None:
    """The system refuses 20 GB at once, and the child reports the refusal itself."""
    end = run_watched(
        python("kept = bytearray(20 * 2**30)"), limits=Limits(60, 2**30, hard=True), folder=tmp_path
    )
    assert (end.cause, end.code) == ("exit", 1)
    assert "MemoryError" in end.tail
    assert end.peak_rss_bytes < 2**30


def test_progress_and_tail(tmp_path: Path) -> None:
    """Marked lines reach the callback as they come; the other lines go to the log."""
    code = """
        import sys, time
        print("@progress half way", file=sys.stderr, flush=True)
        time.sleep(0.5)
        print("noise", flush=True)
        sys.exit(3)
        """
    told: list[str] = []
    end = run_watched(
        python(code), limits=Limits(20), folder=tmp_path, progress=lambda m, _: told.append(m)
    )
    assert (end.cause, end.code, end.tail) == ("exit", 3, "noise")
    assert "half way" in told


def test_the_child_reads_nothing(tmp_path: Path) -> None:
    """The child's input is empty, and is not the pipe that keeps its guard alive."""
    code = "import sys; print(repr(sys.stdin.read()))"
    assert run_watched(python(code), limits=Limits(20), folder=tmp_path).tail == "''"


@posix
@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGKILL, signal.SIGABRT, signal.SIGPIPE])
def test_the_signal_that_ended_it_is_told(tmp_path: Path, number: signal.Signals) -> None:
    """The signal is reported as if there were no guard; ignored signals are not inherited."""
    command = ["sh", "-c", f"kill -{int(number)} $$; sleep 5"]
    assert run_watched(command, limits=Limits(20), folder=tmp_path).code == -number


def test_a_command_that_is_not_there(tmp_path: Path) -> None:
    """A missing command raises, as in `subprocess`."""
    with pytest.raises(FileNotFoundError, match="no-such-program"):
        run_watched(["no-such-program"], limits=Limits(20), folder=tmp_path)


@posix
def test_an_interrupt_kills_the_child(tmp_path: Path) -> None:
    """Ctrl-C in the parent leaves no child behind."""
    code = f"""
        import os, time
        print(os.getpid(), file=open({str(tmp_path / "pid")!r}, "w"))
        time.sleep(60)
        """

    def interrupt() -> None:
        written(tmp_path / "pid")
        signal.raise_signal(signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        run_watched(python(code), limits=Limits(30), folder=tmp_path)
    thread.join()
    assert gone(written(tmp_path / "pid"), 0.1)


@posix
def test_an_interrupt_while_the_follower_starts_is_an_interrupt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C while the follower thread starts raises KeyboardInterrupt, not the thread's error."""

    def start(_: threading.Thread) -> None:
        raise KeyboardInterrupt

    code = f"""
        import os, time
        print(os.getpid(), file=open({str(tmp_path / "pid")!r}, "w"))
        time.sleep(60)
        """
    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", start)
        with pytest.raises(KeyboardInterrupt):
            run_watched(python(code), limits=Limits(30), folder=tmp_path)
    assert not (tmp_path / "pid").exists() or gone(written(tmp_path / "pid"), 0.1)


PARENT = """
import sys
from pathlib import Path
from core.machine.child_process import Limits, child_environment, run_watched
folder, *command = sys.argv[1:]
run_watched(command, limits=Limits(120), environment=child_environment(), folder=Path(folder))
"""
#: What a child may be doing while its parent dies, each with the process that must be gone.
DOING = {
    "sleeps": "import os, time; say(os.getpid()); time.sleep(100)",
    # A library that holds Python's lock lets no thread of the child run; so does what PyDLL calls.
    "holds Python's lock": "import ctypes; say(os.getpid()); ctypes.PyDLL(None).sleep(100)",
    "ignores every signal": """
        import signal
        for number in {signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE}:
            signal.signal(number, signal.SIG_IGN)
        say(os.getpid()); time.sleep(100)""",
    "waits for a program": "say(subprocess.Popen(['sleep', '100']).pid); time.sleep(100)",
    "waits for one with a group of its own":
        "say(subprocess.Popen(['sleep', '100'], process_group=0).pid); time.sleep(100)",
}  # fmt: skip


@posix
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
@pytest.mark.parametrize("doing", DOING)
def test_no_child_survives_its_parent(tmp_path: Path, doing: str, number: signal.Signals) -> None:
    """Neither the child nor its own children survive any end of the parent."""
    file = tmp_path / "pid"
    say = f"def say(pid): print(pid, file=open({str(file)!r}, 'w'))"
    code = f"import os, subprocess, time\n{say}\n{textwrap.dedent(DOING[doing])}"
    command = [sys.executable, "-c", PARENT, str(tmp_path), sys.executable, "-c", code]
    with subprocess.Popen(command, cwd=ROOT) as parent:
        child = written(file)
        assert psutil.pid_exists(child)
        parent.send_signal(number)
        assert parent.wait(10) == -number
    assert gone(child)


@posix
def test_nothing_survives_a_child_that_has_ended(tmp_path: Path) -> None:
    """Processes that the child started end when `run_watched` returns."""
    file = tmp_path / "pid"
    code = f"""
        import subprocess
        print(subprocess.Popen(["sleep", "100"]).pid, file=open({str(file)!r}, "w"))
        """
    assert run_watched(python(code), limits=Limits(20), folder=tmp_path).code == 0
    assert gone(written(file))


@pytest.mark.skipif(sys.platform != "linux", reason="Linux tells a child of its parent's death")
def test_the_child_does_not_survive_its_guard(tmp_path: Path) -> None:
    """Killing only the guard also kills the child."""
    file = tmp_path / "pid"
    code = f"""
        import os, time
        print(os.getpid(), file=open({str(file)!r}, "w"))
        time.sleep(100)
        """

    def kill() -> None:
        guard = psutil.Process(written(file)).parent()
        assert guard is not None
        guard.kill()

    thread = threading.Thread(target=kill)
    thread.start()
    end = run_watched(python(code), limits=Limits(30), folder=tmp_path)
    thread.join()
    assert (end.cause, end.code) == ("exit", -signal.SIGKILL)
    assert gone(written(file))


@pytest.mark.parametrize("where", ["PYTHONPATH", "folder"])
def test_nothing_foreign_is_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    """No code runs from PYTHONPATH or from the folder that the child starts in."""
    hostile, folder = tmp_path / "hostile", tmp_path / "folder"
    hostile.mkdir()
    folder.mkdir()
    if where == "PYTHONPATH":
        monkeypatch.setenv("PYTHONPATH", str(hostile))
        monkeypatch.syspath_prepend(str(hostile))
    mark = tmp_path / "was_run"
    names = ("sitecustomize", "usercustomize", "json", "ctypes", "platform", "core", "threading")
    for name in names:
        code = f"open({str(mark)!r}, 'a').write({name!r})\n"
        ((hostile if where == "PYTHONPATH" else folder) / f"{name}.py").write_text(code)
    command = python_child("core.machine.paths")
    end = run_watched(command, limits=Limits(60), environment=child_environment(), folder=folder)
    assert end.code == 0, end.tail
    assert not mark.exists()


def test_libraries_that_only_the_parent_finds_are_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Libraries on the parent's PYTHONPATH, as on clusters, are found; arguments are unchanged."""
    lent, folder = tmp_path / "lent", tmp_path / "folder"
    lent.mkdir()
    folder.mkdir()
    (lent / "lent_module.py").write_text("import sys, core; print(sys.argv[1:], core.__file__)")
    monkeypatch.syspath_prepend(str(lent))
    command = python_child("lent_module", "ä b", "--x")
    end = run_watched(command, limits=Limits(60), environment=child_environment(), folder=folder)
    assert end.tail == f"['ä b', '--x'] {ROOT / 'core' / '__init__.py'}"


def test_the_environment_steers_no_python(monkeypatch: pytest.MonkeyPatch) -> None:
    """Python's variables are removed, telemetry is off, and all others are unchanged."""
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
