"""Opens graphs of the bundle on the CPU."""

import os
from pathlib import Path

os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # read when ONNX Runtime is loaded

import onnxruntime

onnxruntime.disable_telemetry_events()  # the same for Windows


def inside(folder: Path, name: str) -> Path:
    """Return the file that `metadata.json` names, below the bundle; raises SystemExit elsewhere."""
    try:
        home = folder.resolve()
        file = (home / name).resolve()
    except (OSError, TypeError, ValueError):
        file = home
    if home not in file.parents or "\\" in name or ":" in name:
        raise SystemExit(f"metadata.json names a file outside of the bundle: {str(name)[:200]!r}")
    return file


def open_on_cpu(file: Path) -> onnxruntime.InferenceSession:
    """Return the graph, opened.

    8-bit products are added exactly where the CPU lacks VNNI, and no input is rounded to 8 bits
    that the graph does not round.
    """
    options = onnxruntime.SessionOptions()
    options.add_session_config_entry("session.x64quantprecision", "1")
    options.add_session_config_entry("session.qdq_matmulnbits_accuracy_level", "1")
    return onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
