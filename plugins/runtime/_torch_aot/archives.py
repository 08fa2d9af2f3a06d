"""Makes TorchScript archives and AOTInductor packages of torch programs, and loads them."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.formats.torch_export import quiet, zeros
from plugins.runtime._torch_kernels.compiling import INDUCTOR, check_compiler, not_compiled
from plugins.runtime._torch_kernels.devices import Device, moved

if TYPE_CHECKING:
    import torch

__all__ = ["load_package", "load_script", "package", "script"]

INSTEAD = "or make TorchScript, which needs none: runtime.format=torchscript"
#: The time stamp of every file in an archive: equal programs give equal archives.
DATE = (1980, 1, 1, 0, 0, 0)
#: Ends the names of files that hold the paths of the code that a trace went through.
DEBUG = ".debug_pkl"


def script(program: torch.export.ExportedProgram, target: Path, device: Device) -> None:
    """Trace a program as TorchScript, and write it without the paths of this machine.

    A program has no control flow that a trace could miss. `torch.jit.script` takes none: torch
    2.13 fails at the code that every exported program begins with.
    """
    import torch

    given = tuple(tensor.to(device.name) for tensor in zeros(program))
    module = moved(program, device).module(check_guards=False)
    whole = target.with_suffix(".whole")
    with quiet(), torch.no_grad():
        traced = torch.jit.trace(module, given, check_trace=False)  # type: ignore[no-untyped-call]  # torch gives no type
        torch.jit.save(traced, str(whole))
    with zipfile.ZipFile(whole) as source, zipfile.ZipFile(target, "w") as written:
        for entry in source.infolist():
            if not entry.filename.endswith(DEBUG):
                written.writestr(zipfile.ZipInfo(entry.filename, DATE), source.read(entry))
    whole.unlink()


def package(program: torch.export.ExportedProgram, target: Path, device: Device) -> None:
    """Compile a program to an AOTInductor package: native code for this machine, and weights.

    Raises StageError without a C++ compiler, or if PyTorch cannot compile the program.
    """
    import torch
    from torch._inductor import aoti_compile_and_package

    check_compiler(INSTEAD)
    try:
        with quiet(), torch.no_grad():
            aoti_compile_and_package(
                moved(program, device), package_path=str(target), inductor_configs=INDUCTOR
            )
    except Exception as error:
        raise not_compiled(error, INSTEAD) from error


def load_script(path: Path, device: Device) -> Callable[..., Any]:
    """Load a TorchScript archive; it is code, so its origin must be known."""
    import torch

    with quiet():
        loaded: Callable[..., Any] = torch.jit.load(str(path), map_location=device.name)  # type: ignore[no-untyped-call]  # torch gives no type
    return loaded


def load_package(path: Path) -> Callable[..., Any]:
    """Load an AOTInductor package; it is native code, so its origin must be known."""
    from torch._inductor import aoti_load_package

    with quiet():
        return aoti_load_package(str(path))
