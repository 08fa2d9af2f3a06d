"""The machine and the versions of the libraries that a report names."""

from __future__ import annotations

import functools
import importlib.metadata
import platform

import psutil

__all__ = ["installed_version", "machine", "versions"]

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
    "onnxruntime-ep-openvino",
    "onnxruntime-ep-webgpu",
    "openvino",
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
    found = {name: installed_version(name) for name in REPORTED}
    return {name: version for name, version in found.items() if version is not None}


@functools.cache
def installed_version(distribution: str) -> str | None:
    """Return the version of an installed distribution, None without it; read once a process."""
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None
