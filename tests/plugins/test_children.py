"""Processes that plugins start end with the run, even if only the run's process is killed.

Each child here is the real one, and waits for an input or an answer that never comes.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from plugins.runtime._htp.process import available
from tests.processes import gone

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="POSIX pipes with a name")

ONNXSIM = """
import sys
from pathlib import Path
from core import StageContext
from core.plugin.progress import silent
from plugins.graph.onnxsim import Onnxsim
Onnxsim(Onnxsim.Options())._simplified(sys.argv[1], StageContext(Path(sys.argv[2]), silent()), "")
"""
QNN = """
import sys
from pathlib import Path
from plugins.runtime._htp.process import emulate
folder = Path(sys.argv[2])
emulate(folder / "m.onnx", Path(sys.argv[1]), folder / "o.npz", folder=folder)
"""
NNCF = """
import sys
from pathlib import Path
from core.machine.child_process import Limits, asked_of_child
asked_of_child(
    "plugins.quantizer._nncf.child", {"model": sys.argv[1], "threads": 0}, "nncf",
    limits=Limits(), folder=Path(sys.argv[2]),
)
"""
WEIGHTS = """
import sys
from pathlib import Path
from core.plugin.progress import silent
from plugins.model._hybrid.pretrained import fetch
fetch("htdemucs", Path(sys.argv[2], "w.safetensors"), silent())
"""


@contextlib.contextmanager
def fifo(folder: Path) -> Iterator[tuple[str, Callable[[], object]]]:
    """Give a file that never ends, and a function that waits until a process reads it."""
    path = folder / "in"
    os.mkfifo(path)
    with contextlib.ExitStack() as held:

        def wait() -> None:
            deadline = time.monotonic() + 60
            while True:
                try:
                    held.callback(os.close, os.open(path, os.O_WRONLY | os.O_NONBLOCK))
                except OSError:  # no process reads yet
                    assert time.monotonic() < deadline, "the child never read its input"
                    time.sleep(0.02)
                else:
                    return

        yield str(path), wait


@contextlib.contextmanager
def dumb_server(_: Path) -> Iterator[tuple[str, Callable[[], object]]]:
    """Give the address of a server that never answers, and a function that waits for a call."""
    with socket.create_server(("127.0.0.1", 0)) as server, contextlib.ExitStack() as held:
        server.settimeout(60)
        yield (
            f"http://127.0.0.1:{server.getsockname()[1]}",
            lambda: held.enter_context(server.accept()[0]),
        )


@pytest.mark.parametrize(
    ("code", "source", "needs"),
    [
        pytest.param(ONNXSIM, fifo, "onnxsim", id="onnxsim"),
        pytest.param(QNN, fifo, "onnxruntime_qnn", id="qnn"),
        pytest.param(NNCF, fifo, "nncf", id="nncf"),
        pytest.param(WEIGHTS, dumb_server, "demucs", id="weights"),
    ],
)
def test_no_child_of_a_plugin_survives_the_run(
    tmp_path: Path,
    code: str,
    source: Callable[[Path], contextlib.AbstractContextManager[tuple[str, Callable[[], object]]]],
    needs: str,
) -> None:
    """After SIGKILL of the run's process alone, the plugin's child is gone within 2 s."""
    reason = available() if needs == "onnxruntime_qnn" else None
    if reason or importlib.util.find_spec(needs) is None:
        pytest.skip(reason or f"{needs} is not installed")
    with source(tmp_path) as (given, wait):
        proxies = dict.fromkeys(("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy"), given)
        run = subprocess.Popen(
            [sys.executable, "-c", code, given, str(tmp_path)],
            cwd=ROOT,
            env={**os.environ, **(proxies if source is dumb_server else {})},
        )
        with run:
            wait()
            children = psutil.Process(run.pid).children(recursive=True)
            run.send_signal(signal.SIGKILL)
        assert len(children) == 2, "the guard and the child"
        assert all(gone(child.pid) for child in children)
