"""Opens graphs on the CPU."""

import os
from pathlib import Path

os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # read when ONNX Runtime is loaded

import onnxruntime

onnxruntime.disable_telemetry_events()  # the same for Windows


def open_on_cpu(file: Path) -> onnxruntime.InferenceSession:
    """Return the graph, opened; 8-bit products are added exactly where the CPU lacks VNNI."""
    options = onnxruntime.SessionOptions()
    options.add_session_config_entry("session.x64quantprecision", "1")
    return onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
