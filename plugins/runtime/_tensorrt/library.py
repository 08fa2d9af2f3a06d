"""Finds TensorRT and TensorRT-RTX on this machine, without loading either."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from importlib import metadata

__all__ = ["FLAVOURS", "Flavour", "Library", "choose", "clash", "installed"]


class Flavour(Enum):
    """Which of NVIDIA's two libraries builds and runs the engine."""

    auto = "auto"
    tensorrt = "tensorrt"
    rtx = "rtx"


@dataclass(frozen=True)
class Library:
    """One of the two libraries: the module to import, and the distributions that bring it.

    NVIDIA publishes the same module for each major version of CUDA: `bindings` holds the
    distribution of the module by that version, and `libs` that of its shared libraries.
    """

    flavour: Flavour
    title: str
    module: str
    install: str
    bindings: Mapping[int, str]
    libs: Mapping[int, str]

    def found(self) -> dict[int, str]:
        """Return the installed versions of the bindings, by the major version of CUDA."""
        return {cuda: v for cuda, name in self.bindings.items() if (v := _version(name))}

    @property
    def cuda(self) -> int:
        """Return the major version of CUDA that it was built for; 0 where it is not known."""
        return next(iter(self.found()), 0)

    @property
    def version(self) -> str:
        """Return the installed version, such as `1.7.1.116`; empty where it is not known."""
        return next(iter(self.found().values()), "")

    @property
    def is_installed(self) -> bool:
        """Return whether Python finds the module."""
        return importlib.util.find_spec(self.module) is not None


def _of(flavour: Flavour, title: str, module: str, install: str) -> Library:
    parts = [{n: f"{module}_cu{n}_{part}" for n in (12, 13)} for part in ("bindings", "libs")]
    return Library(flavour, title, module, install, *parts)


#: TensorRT-RTX comes first: it builds engines on a machine without a GPU.
FLAVOURS: Mapping[Flavour, Library] = {
    Flavour.rtx: _of(Flavour.rtx, "TensorRT-RTX", "tensorrt_rtx", "pip install tensorrt-rtx-cu12"),
    Flavour.tensorrt: _of(Flavour.tensorrt, "TensorRT", "tensorrt", "pip install tensorrt-cu12"),
}


def installed() -> list[Library]:
    """Return the libraries that are installed."""
    return [library for library in FLAVOURS.values() if library.is_installed]


def choose(flavour: Flavour) -> tuple[Library | None, str]:
    """Return the library that `flavour` asks for, or None and why there is none, in words."""
    if flavour is not Flavour.auto:
        library = FLAVOURS[flavour]
        if library.is_installed:
            return library, ""
        others = " and ".join(f"`{one.module}`" for one in installed())
        beside = f"; installed is {others} (runtime.flavour=auto takes it)" if others else ""
        return None, f"`{library.module}` is not installed: {library.install}{beside}"
    found = installed()
    if len(found) > 1:
        choices = " or ".join(f"runtime.flavour={one.flavour.name}" for one in found)
        return None, (
            f"both {' and '.join(f'`{one.module}`' for one in found)} are installed, and their "
            f"engines differ: choose {choices}"
        )
    if not found:
        ways = ", or ".join(
            f"{one.install} ({one.title}, {_for(one.flavour)})" for one in FLAVOURS.values()
        )
        return None, f"neither `tensorrt_rtx` nor `tensorrt` is installed: {ways}"
    return found[0], ""


def _for(flavour: Flavour) -> str:
    if flavour is Flavour.rtx:
        return "which builds for GeForce and RTX GPUs and needs no GPU to build"
    return "which builds only for the GPU in the machine"


def clash(library: Library) -> str:
    """Return why packages of `library` cannot work together, with the mend; "" where they can.

    The packages for CUDA 12 and CUDA 13 write the same files: whichever was installed last won, and
    removing one of them breaks the other.
    """
    found = library.found()
    if len(found) > 1:
        names = [library.bindings[cuda] for cuda in found]
        every = [n for part in (library.bindings, library.libs) for n in part.values()]
        return (
            f"{' and '.join(f'`{name}`' for name in names)} are both installed and write the same "
            f"files: pip uninstall {' '.join(every)}, then {library.install}"
        )
    for cuda, version in found.items():
        libs = _version(library.libs[cuda])
        if libs and libs != version:
            return (
                f"`{library.bindings[cuda]}` is {version}, but `{library.libs[cuda]}` is {libs}: "
                f"{library.install} --upgrade --force-reinstall"
            )
        if not libs:
            return (
                f"`{library.bindings[cuda]}` is installed without `{library.libs[cuda]}`: "
                f"{library.install} --force-reinstall"
            )
    return ""


def _version(distribution: str) -> str:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return ""
