"""Plays torch modules and torch programs on this machine's CPU with PyTorch itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core import (
    Artifact,
    BundlePart,
    Fact,
    ModelInfo,
    Notice,
    Requirement,
    Runtime,
    Session,
    StageContext,
    StageError,
    TorchModel,
    hookimpl,
)
from core.config.bounds import MOST_THREADS, check_within

if TYPE_CHECKING:
    import torch


#: Code that loads what this runtime plays: a program as it is, or weights for the model's own code.
LOADING = """\
import json
from pathlib import Path

import torch
import torch.ao.quantization.fx._decomposed  # the operators that quantise and dequantise
from safetensors.torch import load_file

metadata = json.loads(Path("metadata.json").read_text())
file = metadata["model"]["file"]
# torch.export.load runs code that a file holds: check the SHA-256 in metadata.json first.
if metadata["model"]["format"] == "torch_export":
    module = torch.export.load(file).module()
else:
    module.load_state_dict(load_file(file))
with torch.no_grad():
    outputs = module(*inputs)  # a tensor for each of metadata["core"]["inputs"], in order
"""
#: The label of a session in which no integer kernel computes.
SIMULATED = "INT8 simulated in floats"
#: An assertion fails in its lowering of these kernels, as of 2.13: packed weights are no constants.
UNCOMPILED = "PyTorch's compiler does not take its own integer kernels"


class Kernels(Enum):
    """The kernels for quantised operators."""

    auto = "auto"
    int8 = "int8"
    simulated = "simulated"


@dataclass
class TorchOptions:
    """The options of the runtime `torch`."""

    threads: int = 0
    """Threads that one operator may use; 0 leaves PyTorch its default."""
    kernels: Kernels = Kernels.auto
    """What the quantised operators of a program run on: PyTorch's integer kernels (int8), floats
    that round like integers (simulated), or the kernels where this processor's are exact (auto)."""
    compile: bool = False
    """Compile a program with PyTorch's own compiler before it plays. It needs a C++ compiler and
    minutes, and takes no integer kernels; a module is played as it is."""

    def __post_init__(self) -> None:
        """Raise ValueError for a value out of range, and for options that exclude each other."""
        check_within(self, "threads", 0, MOST_THREADS)
        if self.compile and self.kernels is Kernels.int8:
            raise ValueError(f"`kernels` cannot be int8 with `compile`: {UNCOMPILED}")


class TorchRuntime(Runtime[TorchOptions]):
    """Plays the torch module in FP32 (the yardstick), or a torch program of any precision."""

    name = "torch"
    accepts = frozenset({"torch", "torch_export"})
    precisions = frozenset({"fp32", "fp16", "bf16", "int8", "dynamic"})
    Options = TorchOptions
    libraries = (Requirement("torch", "pip install torch"),)

    @classmethod
    def findings(cls) -> Sequence[Notice]:
        """Return whether `compile` finds a C++ compiler here."""
        from plugins.runtime._torch_kernels import compiler

        found = compiler()
        text = f"compiles with {found}" if found else "cannot compile: there is no C++ compiler"
        return (Notice("info", text),)

    def open(
        self, artifact: Artifact, model: Callable[[], TorchModel], work: StageContext
    ) -> Session:
        """Open the torch module, or the program that was made of it.

        Raises StageError where `kernels` or `compile` ask for something that this machine lacks.
        """
        from plugins.runtime._torch_kernels import TorchSession

        threads = self.options.threads
        if artifact.format == "torch":
            work.progress(0, 0, "opening the torch module")
            opened = model()
            return TorchSession(opened.core.eval(), opened.info, threads)
        work.progress(0, 0, "opening the torch program")
        return self._program(Path(artifact.path), artifact.info, work)

    def _program(self, path: Path, info: ModelInfo, work: StageContext) -> Session:
        import torch

        from core.formats.torch_export import load, operator, zeros
        from plugins.runtime._torch_kernels import TorchSession, compiled, quantised

        program = load(path)
        module = program.module(check_guards=False)
        assert isinstance(module, torch.fx.GraphModule)
        given = zeros(program)
        how, facts = self._integers(module)
        # Where `kernels` asks for floats, they are no surprise.
        asked = self.options.kernels is Kernels.simulated
        floats = [] if asked else [(node.name, operator(node)) for node in quantised(module)]
        core: Callable[..., Any] = module
        if self.options.compile:
            work.progress(0, 0, "compiling the torch program")
            core, how = compiled(module, given), [*how, "compiled"]
        return TorchSession(
            core,
            info,
            self.options.threads,
            how,
            facts,
            given,
            floats,
            traceable=not self.options.compile,
        )

    def _integers(self, module: torch.fx.GraphModule) -> tuple[list[str], dict[str, Fact]]:
        """Put integer kernels into a quantised program, as `kernels` says; a float one stays."""
        from plugins.runtime._torch_kernels import fuse, quantised, why_not

        count = len(quantised(module))
        if not count:
            return [], {}
        wanted = self.options.kernels
        reason = UNCOMPILED if self.options.compile else why_not(module)
        if wanted is Kernels.simulated:
            reason = "`kernels` says so"
        if reason and wanted is Kernels.int8:
            raise StageError(
                f"PyTorch's integer kernels cannot be used for this program: {reason}",
                "make a program for these kernels: quantizer.reduce_range=true",
                "or run it with floats that round like integers: runtime.kernels=simulated",
            )
        if reason:
            return [SIMULATED], {
                "int8_kernels": {},
                "int8_simulated": count,
                "int8_simulated_because": reason,
            }
        done = fuse(module)
        if not done.kernels:
            how = SIMULATED
        else:
            how = "INT8 kernels" if not done.simulated else "INT8 kernels, some simulated"
        return [how], {
            "int8_kernels": done.kernels,
            "int8_simulated": done.simulated,
            "int8_kernels_with_relu": done.with_relu,
            **({"int8_kernels_wrong_here": done.wrong} if done.wrong else {}),
        }

    def ships(self, info: ModelInfo) -> BundlePart:
        """Return the lines that load a program, or the weights of a module."""
        return BundlePart(lines={"python": LOADING})


@hookimpl
def luthier_plugins() -> list[type[TorchRuntime]]:
    """Return the plugin of this file."""
    return [TorchRuntime]
