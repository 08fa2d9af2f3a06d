"""Makes TorchScript archives and AOTInductor packages of torch programs, and loads them."""

from __future__ import annotations

import sys
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.formats.torch_export import quiet, zeros
from plugins.runtime._torch_kernels.compiling import INDUCTOR, check_compiler, not_compiled
from plugins.runtime._torch_kernels.devices import Device, moved

if TYPE_CHECKING:
    import torch

__all__ = ["load_package", "load_script", "package", "script"]

INSTEAD = "or make TorchScript, which needs none: runtime.format=torchscript"
#: The time stamp of every file in an archive.
DATE = (1980, 1, 1, 0, 0, 0)
#: Files that loading does not need, and that hold paths of this machine: those of the code that a
#: trace went through, and the source of native code.
SOURCES = (".debug_pkl", ".cpp")


def script(program: torch.export.ExportedProgram, target: Path, device: Device) -> None:
    """Trace a program as TorchScript, and write it without the paths of this machine.

    A program has no control flow that a trace could miss. `torch.jit.script` takes none: torch
    2.13 fails at the code that every exported program begins with.
    """
    import torch

    given = tuple(tensor.to(device.name) for tensor in zeros(program))
    module = moved(program, device).module(check_guards=False)
    with _whole(target) as whole, quiet(), torch.no_grad():
        traced = torch.jit.trace(module, given, check_trace=False)  # type: ignore[no-untyped-call]  # torch gives no type
        torch.jit.save(traced, str(whole))


def package(program: torch.export.ExportedProgram, target: Path, device: Device) -> None:
    """Compile a program to an AOTInductor package: native code for this machine, and weights.

    Raises StageError without a C++ compiler, or if PyTorch cannot compile the program.
    """
    import torch

    check_compiler(INSTEAD)
    given = tuple(tensor.to(device.name) for tensor in zeros(program))
    program = moved(program, device)
    program.example_inputs = (given, {})  # a program that was saved has none
    try:
        with _whole(target) as whole, quiet(), torch.no_grad():
            from torch._inductor import aoti_compile_and_package  # it warns when it is imported

            aoti_compile_and_package(program, package_path=str(whole), inductor_configs=INDUCTOR)
    except Exception as error:
        raise not_compiled(error, INSTEAD) from error


@contextmanager
def _whole(target: Path) -> Iterator[Path]:
    """Yield a path to write an archive to; leave it as `target`, without paths of this machine."""
    whole = target.with_name(f"whole-{target.name}")
    yield whole
    with zipfile.ZipFile(whole) as source, zipfile.ZipFile(target, "w") as written:
        for entry in source.infolist():
            if not entry.filename.endswith(SOURCES):
                name = entry.filename.removeprefix("whole-")
                data = source.read(entry)
                # The names of source files, for messages of asserts, stand in the native code.
                data = _nowhere(data) if name.endswith(".so") else data
                written.writestr(zipfile.ZipInfo(name, DATE), data)
    whole.unlink()


def _nowhere(code: bytes) -> bytes:
    """Return native code in which folders of this machine are replaced by as many underscores."""
    import torch
    from torch._inductor.runtime.cache_dir_utils import cache_dir

    folders = {cache_dir(), str(Path(torch.__file__).parent), sys.prefix, sys.base_prefix}
    for folder in sorted(folders, key=len, reverse=True):
        path = folder.encode()
        code = code.replace(path + b"/", b"_" * len(path) + b"/")
    return code


def load_script(path: Path, device: Device) -> Callable[..., Any]:
    """Load a TorchScript archive; it is code, so its origin must be known."""
    import torch

    with quiet():
        loaded: Callable[..., Any] = torch.jit.load(str(path), map_location=device.name)  # type: ignore[no-untyped-call]  # torch gives no type
    return loaded


def load_package(path: Path) -> Callable[..., Any]:
    """Load an AOTInductor package; it is native code, so its origin must be known."""
    with quiet():
        from torch._inductor import aoti_load_package  # it warns when it is imported

        return aoti_load_package(str(path))
