"""The code that opens and runs a bundle on a device, in Python, C++ and Kotlin.

`any/` holds what every device shares: one window through the host graphs and the model, and the
test of a back end. The folder of a runtime holds `device.*`, which lists the back ends. The files
go into the bundle as they are; the facts of the bundle stand in its metadata, or in constants that
the core writes.
"""

from __future__ import annotations

import platform
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path

from core import LinkedLibrary

__all__ = ["onnxruntime_library", "package", "sources"]


def sources(device: str) -> Mapping[str, Path]:
    """Return every file by its place in the bundle; `device` is the name of a runtime."""
    here = Path(__file__).parent
    return {
        file.relative_to(here / folder).as_posix(): file
        for folder in ("any", device)
        for file in sorted((here / folder).rglob("*.*"))
        if file.suffix in {".py", ".h", ".kt"}
    }


def onnxruntime_library() -> LinkedLibrary:
    """Return ONNX Runtime with the size of its library as it is installed here."""
    return _measured("onnxruntime", "plays the graphs", "capi/*onnxruntime.*")


def package(name: str, why: str) -> LinkedLibrary:
    """Return a package of Python with the size of all its files as they are installed here."""
    return _measured(name, why, "")


def _measured(name: str, why: str, pattern: str) -> LinkedLibrary:
    """Return a distribution, and the size of those of its files that match; of all without."""
    try:
        found = metadata.distribution(name)
    except metadata.PackageNotFoundError:
        return LinkedLibrary(name, "", why, None, "not installed where the bundle was made")
    files = [Path(str(f.locate())) for f in found.files or () if not pattern or f.match(pattern)]
    there = [file for file in files if file.is_file() and file.suffix != ".py"]
    here = f"for {platform.system()} on {platform.machine()}, from PyPI"
    if not there:
        return LinkedLibrary(name, found.version, why, None, f"not found as installed {here}")
    what = ", ".join(file.name for file in there) if pattern else "all files of the package"
    size = sum(file.stat().st_size for file in there)
    return LinkedLibrary(name, found.version, why, size, f"{what} {here}")
