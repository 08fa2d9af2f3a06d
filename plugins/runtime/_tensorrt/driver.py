"""The NVIDIA driver and the GPUs of this machine, asked through the driver's own library."""

from __future__ import annotations

import ctypes
import sys
from dataclasses import dataclass

__all__ = ["Gpu", "Machine", "look"]

#: `CUdevice_attribute` of cuda.h: the two parts of a device's compute capability.
_MAJOR, _MINOR = 75, 76
_NAME_BYTES = 256


@dataclass(frozen=True)
class Gpu:
    """One GPU: its name, and its compute capability, such as `8.9`."""

    name: str
    capability: str


@dataclass(frozen=True)
class Machine:
    """What the driver says: the CUDA version that it serves (12090 is 12.9), and its GPUs.

    `problem` says in words why there is no GPU to use; "" where there is one.
    """

    cuda: int = 0
    gpus: tuple[Gpu, ...] = ()
    problem: str = ""

    @property
    def driver(self) -> str:
        """Return the CUDA version that the driver serves, such as `12.9`; "" without a driver."""
        return f"{self.cuda // 1000}.{self.cuda % 1000 // 10}" if self.cuda else ""


def look() -> Machine:
    """Ask the driver; takes milliseconds, and loads nothing where there is no driver."""
    name = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"
    try:
        cuda = ctypes.CDLL(name)
    except OSError:
        return Machine(problem=f"this machine has no NVIDIA driver (`{name}` is not found)")
    version, count = ctypes.c_int(), ctypes.c_int()
    if code := cuda.cuInit(0):
        return Machine(problem=f"the NVIDIA driver finds no GPU to use (cuInit: CUDA error {code})")
    cuda.cuDriverGetVersion(ctypes.byref(version))
    cuda.cuDeviceGetCount(ctypes.byref(count))
    gpus = tuple(_gpu(cuda, index) for index in range(count.value))
    problem = "" if gpus else "the NVIDIA driver finds no GPU"
    return Machine(version.value, gpus, problem)


def _gpu(cuda: ctypes.CDLL, index: int) -> Gpu:
    name = ctypes.create_string_buffer(_NAME_BYTES)
    parts = [ctypes.c_int(), ctypes.c_int()]
    cuda.cuDeviceGetName(name, _NAME_BYTES, index)
    for part, attribute in zip(parts, (_MAJOR, _MINOR), strict=True):
        cuda.cuDeviceGetAttribute(ctypes.byref(part), attribute, index)
    capability = ".".join(str(part.value) for part in parts)
    return Gpu(name.value.decode(errors="replace"), capability)
