"""PyTorch's own compiler (inductor), which needs a C++ compiler on the machine."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from core import StageError
from core.formats.torch_export import quiet

if TYPE_CHECKING:
    import torch

__all__ = ["compiled", "compiler"]


def compiler() -> str:
    """Return the C++ compiler that PyTorch would call; empty where there is none."""
    from torch._inductor.cpp_builder import get_cpp_compiler
    from torch._inductor.exc import InvalidCxxCompiler

    try:
        return str(get_cpp_compiler())
    except InvalidCxxCompiler:
        return ""


def compiled(module: torch.nn.Module, arguments: tuple[torch.Tensor, ...]) -> Callable[..., Any]:
    """Compile `module` for inputs like `arguments`, now rather than on the first window.

    Raises StageError without a C++ compiler, or when PyTorch cannot compile the module.
    """
    import torch

    if not compiler():
        raise StageError(
            "PyTorch compiles through a C++ compiler, and this machine has none",
            "install one (g++, clang++, or Visual Studio's) or name it in the variable CXX",
            "or play without: runtime.compile=false",
        )
    run = torch.compile(module, dynamic=False)
    try:
        with quiet(), torch.no_grad():
            run(*arguments)
    except Exception as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        raise StageError(
            f"PyTorch {torch.__version__} cannot compile the program: {type(error).__name__}",
            lines[0][:200] if lines else "",
            "play it without: runtime.compile=false",
        ) from error
    return run
