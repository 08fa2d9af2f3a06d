"""Many Python commands for the price of one start.

Loading its libraries takes most of the time of a short command. Here one process loads them, and
every command runs in a copy of that process: with its own folder, environment and module path, as
a new Python would have them. The libraries know nothing of Luthier: each copy imports it anew,
unless it is a copy of one that has loaded it (`Copies.loaded`).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

__all__ = ["Copies", "copies"]

#: Libraries that most commands load. None computes or connects when it is loaded.
LIBRARIES = ("antlr4", "filelock", "hydra", "msgspec", "numpy", "pluggy", "psutil", "rich.console",
             "rich.table", "torch", "yaml")  # fmt: skip
SERVER = """\
import gc, importlib, json, os, runpy, sys

def enter(task):
    os.chdir(task["folder"])
    os.environ.clear()
    os.environ.update(task["environment"])
    sys.path[:] = [task["folder"], *task["environment"]["PYTHONPATH"].split(os.pathsep), *installed]
    importlib.invalidate_caches()  # a folder on the path may be new

for library in sys.argv[1:]:
    importlib.import_module(library)
installed = sys.path[1:]
gc.freeze()  # no copy looks for garbage among the libraries
while line := sys.stdin.readline():
    task = json.loads(line)
    if not task:
        print(0, flush=True)
        os._exit(0)
    child = os.fork()
    if child:
        status = os.waitpid(child, 0)[1]
        if "loads" not in task:
            print(os.waitstatus_to_exitcode(status), flush=True)
        continue
    enter(task)
    if "loads" in task:
        exec(task["loads"], {})
        gc.freeze()
        print(0, flush=True)
        continue
    log = os.open(task["log"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    for number in (1, 2):
        os.dup2(log, number)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    how, what, *sys.argv[1:] = task["words"]
    sys.argv[0] = what
    if how == "-m":
        runpy.run_module(what, run_name="__main__", alter_sys=True)
    else:
        exec(compile(what, "<string>", "exec"), {"__name__": "__main__"})
    break
"""


class Copies:
    """Runs Python commands, each in a copy of one process."""

    def __init__(self, server: subprocess.Popen[str], folder: Path) -> None:
        self._server, self._log = server, folder / "log"

    @contextmanager
    def loaded(self, code: str, folder: Path, environment: Mapping[str, str]) -> Iterator[None]:
        """Run `code` in a copy, and copy that one for every command of the block."""
        assert self._asked(loads=code, folder=str(folder), environment=dict(environment)) == 0
        yield
        self._asked()

    def run(
        self, words: Sequence[str], folder: Path, environment: Mapping[str, str]
    ) -> tuple[int, str]:
        """Run `python -m module ...` or `python -c code`; return its exit code and output.

        `words` are those after `python`; `environment` must have a PYTHONPATH.
        """
        assert words[0] in ("-m", "-c"), words
        code = self._asked(
            words=list(words), folder=str(folder), environment=dict(environment), log=str(self._log)
        )
        return code, self._log.read_text(encoding="utf-8", errors="replace")

    def _asked(self, **task: Any) -> int:
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        self._server.stdin.write(json.dumps(task) + "\n")
        self._server.stdin.flush()
        return int(self._server.stdout.readline())


@contextmanager
def copies() -> Iterator[Copies]:
    """Start the process that is copied, and end it after the block."""
    # Bytecode is written, so that only the first command compiles what a page or a checkout has.
    kept = os.environ.items()
    environment = {k: v for k, v in kept if k not in ("PYTHONPATH", "PYTHONDONTWRITEBYTECODE")}
    with (
        TemporaryDirectory() as folder,
        subprocess.Popen(
            [sys.executable, "-c", SERVER, *LIBRARIES], stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, text=True, cwd=folder, env=environment,
        ) as server,
    ):  # fmt: skip
        yield Copies(server, Path(folder))
        assert server.stdin is not None
        server.stdin.close()
