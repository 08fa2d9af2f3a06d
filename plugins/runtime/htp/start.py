"""How the child process is started: by the libraries of this process, and nothing else.

Python runs a `sitecustomize.py` that it finds along PYTHONPATH, and imports from the folder it
is started in. The child runs in isolated mode (`-I`), which does neither, and is told on its
command line where the parent's libraries lie.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

__all__ = ["child_command", "child_environment"]

#: The folder that holds `plugins` and `core`: a checkout, or where packages are installed.
_ROOT = str(Path(__file__).resolve().parents[3])
# The child's own folders come before those that only the parent had, so that nothing along
# PYTHONPATH stands in for the standard library or an installed package.
_START = """\
import json, runpy, sys
root, *others = json.loads(sys.argv.pop())
sys.path[:0] = [] if root in sys.path else [root]
sys.path += [folder for folder in others if folder not in sys.path]
runpy.run_module("plugins.runtime.htp.child", run_name="__main__", alter_sys=True)
"""


def child_command(request: Path) -> list[str]:
    """Return the command that has a child of this process do what the file `request` asks."""
    here = {"", str(Path.cwd())}  # Python's own addition for `-m` and `-c`; no library lies there
    folders = [_ROOT, *(folder for folder in sys.path if folder not in here)]
    # `-I` also leaves PYTHONDONTWRITEBYTECODE unread, so the parent's wish is passed on.
    flags = ["-I", *(["-B"] if sys.dont_write_bytecode else [])]
    return [sys.executable, *flags, "-c", _START, str(request), str(os.getpid()),
            json.dumps(folders)]  # fmt: skip


def child_environment() -> dict[str, str]:
    """Return this process's environment without what steers Python, and without telemetry."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    # Read once, when ONNX Runtime is loaded: no device identifier, no events, no uploader.
    return {**kept, "ORT_DISABLE_TELEMETRY": "1"}
