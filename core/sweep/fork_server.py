"""A process with everything loaded that starts the processes of points: each is a copy of it.

Loading takes as long as many a step: hydra, torch, ONNX Runtime, every plugin. Here it happens once
for each worker of a sweep. The process that is copied has computed nothing yet and has no threads
of its own. Where a system cannot copy processes (Windows), each point loads everything itself.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO

from core.machine.child_guard import die_with, guarded
from core.sweep.messages import PointTask, read_task, written

__all__ = ["ForkServer", "serve"]

#: The folder that holds `core`: a process of a point must find the same one.
ROOT = Path(__file__).parent.parent.parent
#: Libraries of plugins that take long to load, each with the module to import. None computes
#: anything when it is loaded; other libraries of a plugin, each copy loads for itself.
HEAVY = {
    "numpy": "numpy",
    "onnx": "onnx",
    "onnxruntime": "onnxruntime",
    "scipy": "scipy.signal",
    "torch": "torch",
}
#: Seconds between two checks of a process, and seconds that it has to clean up: if the worker lives
#: on, and if the worker was killed.
POLL_S, LAST_S, ORPHAN_S = 0.05, 12.0, 1.5


class ForkServer:
    """The worker's end: starts the fork server when it is first needed.

    It starts another one if that died, or if this process's environment is not that of the server.
    """

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._tasks: IO[bytes] | None = None
        self._environment: dict[str, str] = {}

    def run(self, task: PointTask) -> int:
        """Run one task; returns the exit status of its process, negative for a signal."""
        process, tasks = self._started()
        assert process.stdout is not None
        try:
            tasks.write(written(task))
            tasks.flush()
            said = process.stdout.readline()
        except BrokenPipeError:
            said = b""
        except BaseException:
            self.close()
            raise
        if said:
            return int(said)
        code = process.wait()
        self.close()
        return code

    def close(self) -> None:
        """End the server and what it started, by closing the pipe that it reads from."""
        process, self._process = self._process, None
        if process is None:
            return
        for pipe in (self._tasks, process.stdout):
            with contextlib.suppress(BrokenPipeError):
                assert pipe is not None
                pipe.close()
        process.wait()
        if process.stdin is not None and not process.stdin.closed:
            process.stdin.close()  # not before its end: this would make the guard kill it

    def _started(self) -> tuple[subprocess.Popen[bytes], IO[bytes]]:
        paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
        lives = self._process is not None and self._process.poll() is None
        if not lives or environment != self._environment:
            self.close()
            command = [sys.executable, "-m", "core.sweep.point_process"]
            self._process, self._tasks = _begun(command, environment)
            self._environment = environment
        assert self._process is not None
        assert self._tasks is not None
        return self._process, self._tasks


def _begun(
    command: list[str], environment: dict[str, str]
) -> tuple[subprocess.Popen[bytes], IO[bytes]]:
    """Start a process that reads tasks; returns it, and the end of the pipe to write them to."""
    if not hasattr(os, "fork"):
        alone = subprocess.Popen(  # noqa: S603  # our own interpreter and module
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment
        )
        assert alone.stdin is not None
        return alone, alone.stdin
    reads, writes = os.pipe()
    try:
        process = subprocess.Popen(  # noqa: S603  # our own interpreter and module
            guarded(command, reads=reads, grace_s=ORPHAN_S),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
            pass_fds=(reads,),
            start_new_session=True,
        )
    except BaseException:
        os.close(writes)
        raise
    finally:
        os.close(reads)
    return process, os.fdopen(writes, "wb")


def serve(do: Callable[[PointTask], None], ready: Callable[[PointTask], None]) -> None:
    """Do tasks from standard input, each in a copy of this process, until the pipe closes.

    `ready` is called in this process before the first task, for work that every copy would repeat.
    """
    # Ctrl-C is for the copies; this process ends after them.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    answers = os.dup(1)
    for number, line in enumerate(iter(sys.stdin.buffer.readline, b"")):
        task = read_task(line)
        heavy = [HEAVY[library] for library in task.libraries if library in HEAVY]
        for module in ("core.run.job", *heavy):
            with contextlib.suppress(ImportError):
                importlib.import_module(module)
        if not number:
            ready(task)
        gc.freeze()  # no copy looks for garbage in what all share
        here = os.getpid()
        pid = os.fork()
        if not pid:
            die_with(here)
            _be_born(task, do)
        code = _outcome(pid)
        # The worker may be gone.
        with contextlib.suppress(BrokenPipeError):
            os.write(answers, f"{code}\n".encode())


def _be_born(task: PointTask, do: Callable[[PointTask], None]) -> None:
    """Do a task in the copy; never returns."""
    code = 1
    try:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        do(task)
        code = 0
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _outcome(pid: int) -> int:
    """Return the exit status of a copy; it is interrupted if the worker is gone."""
    asked = 0.0
    while True:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        if asked and time.monotonic() - asked > LAST_S:
            os.kill(pid, signal.SIGKILL)
        # Nothing is sent while a task runs, so if there is something to read, the pipe was closed.
        if not asked and select.select([0], [], [], POLL_S)[0]:
            os.kill(pid, signal.SIGINT)
            asked = time.monotonic()
        elif asked:
            time.sleep(POLL_S)
