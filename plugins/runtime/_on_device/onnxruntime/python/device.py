"""Opens the model on the CPU."""

from pathlib import Path

import cpu
import onnxruntime


def open_model(folder: Path, metadata: dict) -> onnxruntime.InferenceSession:
    """Return the model of the bundle, opened."""
    return cpu.open_on_cpu(cpu.inside(folder, metadata["model"]["file"]))
