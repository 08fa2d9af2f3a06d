"""Many Python commands for the price of one start.

Loading its libraries takes most of the time of a short command. Here one process loads them, and
every command runs in a copy of that process: with its own folder, environment and module path, as
a new Python would have them. The libraries know nothing of Luthier: each copy imports it anew.
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

__all__ = ["Copies", "copies"]

#: Libraries that most commands load. None computes or connects when it is loaded.
LIBRARIES = ("antlr4", "filelock", "hydra", "msgspec", "numpy", "pluggy", "psutil", "rich.console",
             "rich.table", "torch", "yaml")  # fmt: skip
SERVER = """\
import gc, importlib, json, os, runpy, sys
for library in sys.argv[1:]:
    importlib.import_module(library)
installed = sys.path[1:]
gc.freeze()  # no copy looks for garbage among the libraries
for line in sys.stdin:
    task = json.loads(line)
    child = os.fork()
    if child:
        status = os.waitpid(child, 0)[1]
        print(os.waitstatus_to_exitcode(status), flush=True)
        continue
    log = os.open(task["log"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    for number in (1, 2):
        os.dup2(log, number)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.chdir(task["folder"])
    os.environ.clear()
    os.environ.update(task["environment"])
    sys.path[:] = [task["folder"], *task["environment"]["PYTHONPATH"].split(os.pathsep), *installed]
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

    def run(
        self, words: Sequence[str], folder: Path, environment: Mapping[str, str]
    ) -> tuple[int, str]:
        """Run `python -m module ...` or `python -c code`; return its exit code and output.

        `words` are those after `python`; `environment` must have a PYTHONPATH.
        """
        assert words[0] in ("-m", "-c"), words
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        task = {"words": list(words), "folder": str(folder), "environment": dict(environment),
                "log": str(self._log)}  # fmt: skip
        self._server.stdin.write(json.dumps(task) + "\n")
        self._server.stdin.flush()
        code = int(self._server.stdout.readline())
        return code, self._log.read_text(encoding="utf-8", errors="replace")


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
