"""The machine and the versions of the libraries that a report names."""

from __future__ import annotations

import importlib.metadata
import platform

import psutil

__all__ = ["machine", "versions"]

REPORTED = (
    "luthier",
    "torch",
    "demucs",
    "onnx",
    "onnxruntime",
    "onnxruntime-qnn",
    "onnxsim",
    "numpy",
    "hydra-core",
    "qai-hub",
    "tensorrt",
    "tensorrt-rtx-cu12",
    "tensorrt-rtx-cu13",
)


def machine() -> str:
    """Return the machine in words: processor, cores, memory, system."""
    memory = psutil.virtual_memory().total / 2**30
    return (
        f"{platform.machine()}, {psutil.cpu_count()} cores, {memory:.0f} GiB memory, "
        f"{platform.system()}, Python {platform.python_version()}"
    )


def versions() -> dict[str, str]:
    """Return the installed versions of the libraries that results depend on."""
    found = {}
    for name in REPORTED:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found
