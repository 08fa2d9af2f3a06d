"""What the runtime `torch` does with a program: integer kernels, a compiler, a session."""

from plugins.runtime.torch_program.compiling import compiled, compiler
from plugins.runtime.torch_program.integers import Integers, fuse, quantised, why_not
from plugins.runtime.torch_program.session import TorchSession

__all__ = ["Integers", "TorchSession", "compiled", "compiler", "fuse", "quantised", "why_not"]
