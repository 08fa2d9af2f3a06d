"""Nothing is sent: libraries that report their use are told not to, and no run connects."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

from core.formats import onnx_session
from core.machine.telemetry import HIDDEN, SILENT
from tests import unconnected

ROOT = Path(__file__).parents[3]
ROOMS = ("core", "plugins", "hydra_plugins", "tools")


@pytest.mark.parametrize(
    ("library", "says"),
    [
        (
            "huggingface_hub",
            "import huggingface_hub.constants as c; print(c.HF_HUB_DISABLE_TELEMETRY)",
        ),
        ("ray", "from ray._common.usage.usage_lib import usage_stats_enabled as e; print(not e())"),
    ],
)
def test_a_library_is_silent_whatever_was_set(library: str, says: str) -> None:
    """A library's own check says that it may not report, even where a machine allows it."""
    pytest.importorskip(library)
    loud = dict.fromkeys(SILENT, "false") | {"RAY_USAGE_STATS_ENABLED": "1"}
    done = subprocess.run(
        [sys.executable, "-c", f"import core\n{says}"],
        env={**os.environ, **loud},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines()[-1] == "True"


@pytest.mark.parametrize("library", HIDDEN)
def test_a_library_of_reports_cannot_be_imported(library: str, tmp_path: Path) -> None:
    """A module that only reports is not imported, although it is installed."""
    (tmp_path / f"{library}.py").write_text("print('reports')")
    code = f"import core\ntry:\n    import {library}\nexcept ImportError:\n    print('silent')"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines() == ["silent"]


def test_onnxruntime_is_told_before_a_session(monkeypatch: pytest.MonkeyPatch) -> None:
    """The settings of a session make the call that disables telemetry on Windows."""
    import onnxruntime

    told: list[str] = []
    monkeypatch.setattr(onnxruntime, "disable_telemetry_events", lambda: told.append("off"))
    onnx_session.session_options()
    assert told == ["off"]


def called(file: Path) -> set[str]:
    """Return the names of all functions and methods that a module calls."""
    calls = (
        n.func for n in ast.walk(ast.parse(file.read_text("utf-8"))) if isinstance(n, ast.Call)
    )
    return {getattr(f, "attr", getattr(f, "id", "")) for f in calls}


def test_every_session_is_opened_in_silence() -> None:
    """Every module that opens a session uses `onnx_session`'s settings, or makes the call."""
    every = [p for room in ROOMS for p in (ROOT / room).rglob("*.py")]
    files = [p for p in every if not {"on_device", "_on_device"} & {*p.parts}]
    openers = [file for file in files if "InferenceSession" in called(file)]
    assert len(openers) > 5
    for file in openers:
        assert called(file) & {"session_options", "silent_onnxruntime"}, file


@pytest.mark.parametrize(
    ("opens", "silences"),
    [
        ("import openvino", 'sys.modules["openvino_telemetry"] = None'),
        ("import onnxruntime", "import cpu"),  # a program in Python: `cpu.py` does it for all
        ("def open_on_cpu", "onnxruntime.disable_telemetry_events()"),
        ("Ort::Env env_", "env_.DisableTelemetryEvents()"),
        ("OrtEnvironment.getEnvironment()", "setTelemetry(false)"),
    ],
)
def test_programs_in_bundles_are_silent(opens: str, silences: str) -> None:
    """Bundle programs disable telemetry in every language."""
    every = (ROOT / "plugins").rglob("*on_device/*/*/*")
    files = [p for p in every if p.is_file() and "__pycache__" not in p.parts]
    openers = [p for p in files if opens in p.read_text("utf-8") and p.name != "cpu.py"]
    if opens == "def open_on_cpu":
        openers = [p for p in files if p.name == "cpu.py"]
    assert openers
    for file in openers:
        assert silences in file.read_text("utf-8"), file


@pytest.mark.usefixtures("unconnected_processes")
@pytest.mark.parametrize("mode", ["list", "doctor"])
def test_looking_connects_to_nobody(mode: str, tmp_path: Path) -> None:
    """`mode=list` and the like connect to no host; the end-to-end tests cover a run."""
    done = subprocess.run(
        [sys.executable, "-m", "core", f"mode={mode}", f"store={tmp_path / 'store'}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_the_guard_hears(tmp_path: Path) -> None:
    """The guard of these tests notices a look-up and a connection."""
    unconnected.write_guard(tmp_path)
    code = (
        "import socket\nsocket.getaddrinfo('localhost', 1)\n"
        "s = socket.socket()\ns.connect_ex(('127.0.0.1', 1))"
    )
    subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": str(tmp_path)}, check=True
    )
    events = [line.split()[0] for line in unconnected.heard(tmp_path)]
    assert events[:2] == ["socket.getaddrinfo", "socket.connect"]
