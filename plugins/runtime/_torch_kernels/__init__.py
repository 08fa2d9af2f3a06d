"""The parts of the runtime `torch` for programs: integer kernels, a compiler, a session."""

from plugins.runtime._torch_kernels.compiling import compiled, compiler
from plugins.runtime._torch_kernels.integers import Integers, fuse, quantised, why_not
from plugins.runtime._torch_kernels.session import TorchSession

__all__ = ["Integers", "TorchSession", "compiled", "compiler", "fuse", "quantised", "why_not"]
