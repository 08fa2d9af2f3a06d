"""PyTorch's own compiler (inductor), which needs a C++ compiler on the machine."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from core import StageError
from core.formats.torch_export import quiet

if TYPE_CHECKING:
    import torch

__all__ = ["INDUCTOR", "check_compiler", "compiled", "compiler", "not_compiled"]

#: Options of the compiler. Without the first, the number of threads would be part of the kernels;
#: with the second, a profile names them.
INDUCTOR: dict[str, Any] = {"cpp.dynamic_threads": True, "cpp.enable_kernel_profile": True}


def compiler() -> str:
    """Return the C++ compiler that PyTorch would call; empty where there is none."""
    from torch._inductor.cpp_builder import get_cpp_compiler
    from torch._inductor.exc import InvalidCxxCompiler

    try:
        return str(get_cpp_compiler())
    except InvalidCxxCompiler:
        return ""


def check_compiler(instead: str) -> None:
    """Raise StageError if there is no C++ compiler; `instead` says what else is possible."""
    if not compiler():
        raise StageError(
            "PyTorch compiles through a C++ compiler, and this machine has none",
            "install one (g++, clang++, or Visual Studio's) or name it in the variable CXX",
            instead,
        )


def not_compiled(error: Exception, instead: str) -> StageError:
    """Return the error for a program that PyTorch cannot compile."""
    import torch

    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return StageError(
        f"PyTorch {torch.__version__} cannot compile the program: {type(error).__name__}",
        lines[0][:200] if lines else "",
        instead,
    )


def compiled(module: torch.nn.Module) -> Callable[..., Any]:
    """Return `module`, to be compiled when it is first called.

    Then it raises StageError without a C++ compiler, or when PyTorch cannot compile the module.
    """
    import torch

    check_compiler("or play without: runtime.compile=false")
    with quiet():
        run = torch.compile(module, dynamic=False, options=INDUCTOR)
    done = False

    def call(*given: torch.Tensor) -> Any:
        nonlocal done
        if done:
            return run(*given)
        try:
            with quiet():
                result = run(*given)
        except Exception as error:
            raise not_compiled(error, "play it without: runtime.compile=false") from error
        done = True
        return result

    return call
