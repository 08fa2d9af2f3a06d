"""Finds out whether Qualcomm's HTP compiler is on this machine, without loading it."""

from __future__ import annotations

import importlib.util
import platform
import sys
from pathlib import Path

__all__ = ["EP_NAME", "INSTALL", "available", "built_for"]

#: The name that the execution provider is registered under, in the child process only.
EP_NAME = "qnn"
INSTALL = "pip install onnxruntime onnxruntime-qnn"
REINSTALL = "pip install --force-reinstall --no-deps onnxruntime-qnn"
#: Machine numbers in the headers of ELF (`e_machine`) and PE files (`Machine`), by our name.
_ELF = {62: "x86_64", 183: "aarch64", 164: "hexagon"}
_PE = {0x8664: "x86_64", 0xAA64: "aarch64"}
#: The names of these processors in `platform.machine()` elsewhere.
_ALIASES = {"amd64": "x86_64", "arm64": "aarch64"}


def available() -> str | None:
    """Return why QNN cannot be used here with what to do about it, or `None` when it can.

    Imports nothing: it looks for the packages and reads the header of the vendor's library.
    """
    for module in ("onnxruntime", "onnxruntime_qnn"):
        if importlib.util.find_spec(module) is None:
            return f"`{module}` is not installed: {INSTALL}"
    spec = importlib.util.find_spec("onnxruntime_qnn")
    folder = Path(spec.origin).parent if spec is not None and spec.origin else Path()
    names = ("QnnHtp.dll",) if sys.platform == "win32" else ("libQnnHtp.so", "libHtpPrepare.so")
    missing = [name for name in names if not list(folder.rglob(name))]
    here = platform.machine().lower()
    if missing:
        return (
            f"`{missing[0]}` is not in {folder}: this build of onnxruntime-qnn cannot compile "
            f"({sys.platform}, {here}). Try another: {REINSTALL}, or a Linux machine with x86_64"
        )
    there = built_for(next(folder.rglob(names[0])))
    if there != _ALIASES.get(here, here):
        return (
            f"`{names[0]}` in {folder} is for another CPU ({there}) than this machine's ({here}): "
            f"{REINSTALL}"
        )
    return None


def built_for(library: Path) -> str:
    """Return the CPU that a shared library is for, from its header, without loading it."""
    with library.open("rb") as file:
        head = file.read(64)
        if head[:4] == b"\x7fELF":
            number = int.from_bytes(head[18:20], "little")
            return _ELF.get(number, f"ELF machine {number}")
        if head[:2] == b"MZ":
            file.seek(int.from_bytes(head[60:64], "little"))
            number = int.from_bytes(file.read(6)[4:6], "little")
            return _PE.get(number, f"PE machine {number:#x}")
    return "unknown: it is not a library"
