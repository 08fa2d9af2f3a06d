"""Opens the model on the CPU."""

from pathlib import Path

import onnxruntime


def open_model(folder: Path, metadata: dict) -> onnxruntime.InferenceSession:
    """Return the model of the bundle, opened."""
    file = str(folder / metadata["model"]["file"])
    return onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
