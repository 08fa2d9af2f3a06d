"""Copies of one warm process with all modules loaded, for thousands of commands and cases.

A case runs in its own copy and returns its answer as JSON. A case that does not end in time is
killed with all processes that it started. Loading takes longer than most cases, and happens once.
"""

from __future__ import annotations

import importlib
import json
import os
import resource
import runpy
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import psutil

__all__ = ["ROOT", "Ended", "command", "each", "left_of", "warm"]

ROOT = Path(__file__).parents[2]
HOOK = Path(__file__).parent / "hook"
#: The variable that marks all processes that a command started.
MARK = "LUTHIER_TORTURE_CASE"
POLL_S = 0.005
#: The sessions of the commands that this process started.
SESSIONS: set[int] = set()
Case = TypeVar("Case")


@dataclass(frozen=True)
class Ended:
    """How a command ended: `code` is negative for a signal, None where it had to be stopped."""

    code: int | None
    said: str
    seconds: float


def warm(*modules: str) -> None:
    """Load the modules that every copy would load; loading computes nothing, starts no thread."""
    for module in (
        "core.cli.main",
        "core.run.job",
        "core.batch.job",
        "core.sweep.sweeper",
        *modules,
    ):
        importlib.import_module(module)


def each(
    do: Callable[[Case], Any],
    cases: Iterable[Case],
    *,
    lanes: int = 2,
    limit_s: float = 120,
    memory: int | None = None,
) -> Iterator[tuple[Case, Any]]:
    """Yield every case with the result of `do` in a copy of this process, passed as JSON.

    `memory` bounds the growth of a case's address space, in bytes. A case without an answer yields
    an `Ended`.
    """
    waiting = iter(cases)
    running: dict[int, tuple[Case, int, float]] = {}
    more = True
    while more or running:
        while more and len(running) < lanes:
            try:
                case = next(waiting)
            except StopIteration:
                more = False
                break
            running.update([_started(do, case, memory)])
        for pid in list(running):
            case, pipe, started = running[pid]
            late = time.monotonic() - started > limit_s
            if late:
                os.killpg(pid, signal.SIGKILL)
            done, status = os.waitpid(pid, 0 if late else os.WNOHANG)
            if done:
                del running[pid]
                seconds = time.monotonic() - started
                with os.fdopen(pipe, "rb") as answer:
                    said = answer.read()
                code = None if late else os.waitstatus_to_exitcode(status)
                yield case, _answer(said, Ended(code, "", seconds))
        time.sleep(POLL_S)


def _started(
    do: Callable[[Case], Any], case: Case, memory: int | None
) -> tuple[int, tuple[Case, int, float]]:
    """Start a case in a copy; returns its process number, and the case, its pipe and its start."""
    answer = os.memfd_create("answer")
    pid = os.fork()
    if not pid:
        code = 1
        try:
            os.setpgid(0, 0)
            if memory:
                most = psutil.Process().memory_info().vms + memory
                resource.setrlimit(resource.RLIMIT_AS, (most, most))
            said = json.dumps(do(case)).encode()
            os.write(answer, said)
            os.lseek(answer, 0, os.SEEK_SET)
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
    return pid, (case, answer, time.monotonic())


def _answer(said: bytes, ended: Ended) -> Any:
    return json.loads(said) if said and ended.code == 0 else ended


def command(
    arguments: Sequence[str],
    folder: Path,
    environment: Mapping[str, str],
    *,
    limit_s: float = 60,
    trap: bool = False,
    fresh: bool = False,
    started: Callable[[int], None] | None = None,
    says: Path | None = None,
) -> Ended:
    """Run `python -m core ...` in `folder` to its end; with `trap` it may be killed before its end.

    The command runs in a copy of this process, or with `fresh` in a new Python. It has its own
    session. `started` is called with its process number; its output goes to the file `says`.
    """
    said = says or folder / f"said-{time.monotonic_ns()}"
    log = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    given = {**environment, MARK: str(folder)}
    paths = [*([str(HOOK)] if trap else []), *environment.get("PYTHONPATH", "").split(os.pathsep)]
    given["PYTHONPATH"] = os.pathsep.join([*filter(None, paths), str(ROOT)])
    began = time.monotonic()
    if fresh:
        process = subprocess.Popen(  # a session of its own, as a copy has
            [sys.executable, "-m", "core", *arguments],
            cwd=folder, env={**os.environ, **given}, stdout=log, stderr=log,
            stdin=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
        pid = process.pid
    else:
        pid = os.fork()
        if not pid:
            _become(arguments, folder, given, log, trap=trap)
    os.close(log)
    SESSIONS.add(pid)
    if started:
        started(pid)
    code: int | None = None
    while time.monotonic() - began < limit_s:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            code = os.waitstatus_to_exitcode(status)
            break
        time.sleep(POLL_S)
    else:
        os.killpg(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    if fresh:
        process.returncode = code if code is not None else -signal.SIGKILL
    return Ended(code, said.read_text(errors="replace"), time.monotonic() - began)


def _become(
    arguments: Sequence[str], folder: Path, given: Mapping[str, str], log: int, *, trap: bool
) -> NoReturn:
    """Run the command in this process, which is a copy."""
    code = 1
    try:
        os.setsid()
        null = os.open(os.devnull, os.O_RDONLY)
        for stream, to in ((0, null), (1, log), (2, log)):
            os.dup2(to, stream)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        os.environ.update(given)
        os.chdir(folder)
        sys.path[:0] = given["PYTHONPATH"].split(os.pathsep)
        sys.argv = ["core", *arguments]
        importlib.invalidate_caches()
        if trap:
            runpy.run_path(str(HOOK / "sitecustomize.py"), run_name="sitecustomize")
        runpy.run_module("core", run_name="__main__", alter_sys=False)
        code = 0
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def left_of(folder: Path, *, wait_s: float = 15) -> list[str]:
    """Return the processes that commands in `folder` left after a while, and end them."""
    until = time.monotonic() + wait_s
    while (found := _marked(folder)) and time.monotonic() < until:
        time.sleep(0.1)
    names = []
    for process in found:
        try:
            names.append(" ".join(process.cmdline())[:200])
            process.kill()
        except psutil.Error:
            continue
    return names


def _marked(folder: Path) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        if process.pid == os.getpid():
            continue
        try:
            if process.status() == psutil.STATUS_ZOMBIE:
                continue
            # A copy shows the variables of its original process.
            if os.getsid(process.pid) in SESSIONS or process.environ().get(MARK) == str(folder):
                found.append(process)
        except (psutil.Error, OSError):
            continue
    return found
