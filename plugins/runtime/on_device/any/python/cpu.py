"""Opens graphs on the CPU."""

from pathlib import Path

import onnxruntime


def open_on_cpu(file: Path) -> onnxruntime.InferenceSession:
    """Return the graph, opened; 8-bit products are added exactly where the CPU lacks VNNI."""
    options = onnxruntime.SessionOptions()
    options.add_session_config_entry("session.x64quantprecision", "1")
    return onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
