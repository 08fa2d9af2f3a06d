"""Whether Qualcomm's HTP compiler is on this machine, found out without loading it."""

from __future__ import annotations

import importlib.util
import platform
import sys
from pathlib import Path

__all__ = ["INSTALL", "available"]

INSTALL = "pip install onnxruntime onnxruntime-qnn"
# `e_machine` of the ELF header, by what `platform.machine()` says.
_ELF_MACHINES = {"x86_64": 62, "amd64": 62, "aarch64": 183, "arm64": 183}


def available() -> str | None:
    """Return why QNN cannot be used here with what to do about it, or `None` when it can.

    Imports nothing: it looks for the packages and at the header of the vendor's library.
    """
    for module in ("onnxruntime", "onnxruntime_qnn"):
        if importlib.util.find_spec(module) is None:
            return f"`{module}` is not installed: {INSTALL}"
    spec = importlib.util.find_spec("onnxruntime_qnn")
    folder = Path(spec.origin).parent if spec is not None and spec.origin else Path()
    names = ("QnnHtp.dll",) if sys.platform == "win32" else ("libQnnHtp.so", "libHtpPrepare.so")
    missing = [name for name in names if not list(folder.rglob(name))]
    if missing:
        return f"`{missing[0]}` is not in {folder}: this wheel cannot compile on {sys.platform}"
    if sys.platform == "linux":
        with next(folder.rglob(names[0])).open("rb") as library:
            machine = int.from_bytes(library.read(20)[18:20], "little")
        here = platform.machine()
        if machine != _ELF_MACHINES.get(here.lower()):
            return f"`{names[0]}` is for another CPU than this one ({here})"
    return None
