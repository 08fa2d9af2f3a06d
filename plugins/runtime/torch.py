"""Plays torch modules and torch programs with PyTorch itself, on a processor or a GPU."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core import (
    Artifact,
    ArtifactSpec,
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
from core.config.bounds import MOST_THREADS, MOST_WINDOWS, check_within
from plugins.runtime._torch_kernels.devices import Device, Half

if TYPE_CHECKING:
    import torch

    from plugins.runtime._torch_kernels import TorchSession


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
    """The kernels for quantised operators, and for those in 16-bit floats."""

    auto = "auto"
    int8 = "int8"
    simulated = "simulated"


@dataclass
class TorchOptions:
    """The options of the runtime `torch`."""

    device: Device = Device.cpu
    """What computes: cpu, cuda (a GPU by NVIDIA or AMD) or mps (by Apple). `mode=doctor` lists this
    machine's."""
    threads: int = 0
    """Threads that one operator may use; 0 leaves PyTorch its default."""
    autocast: Half | None = None
    """Compute in 16 bits what PyTorch's autocast chooses: bf16 or fp16. Weights are converted for
    every window; `precision=bf16` with `exporter=torch_export` converts them once."""
    kernels: Kernels = Kernels.auto
    """What the quantised operators of a program run on: PyTorch's integer kernels (int8), floats
    that round like integers (simulated), or the kernels where this processor's are exact (auto).
    Products of 16-bit floats are computed in FP32 and rounded if the processor has no kernels for
    them (auto, int8), or always (simulated)."""
    compile: bool = False
    """Compile the module or program with PyTorch's own compiler. It needs a C++ compiler and
    minutes, and takes no integer kernels. Runtime `torch_aot` compiles ahead of time."""
    cache_windows: int = 0
    """Results of windows that are kept, for inputs that repeat. A repeated window reports the time
    that its computation took."""
    allow_fallback: bool = False
    """Whether a session may compute on the CPU where `device` is missing. The report says what was
    used. By default this is an error."""

    def __post_init__(self) -> None:
        """Raise ValueError for a value out of range, and for options that exclude each other."""
        check_within(self, "threads", 0, MOST_THREADS)
        check_within(self, "cache_windows", 0, MOST_WINDOWS)
        if self.compile and self.kernels is Kernels.int8:
            raise ValueError(f"`kernels` cannot be int8 with `compile`: {UNCOMPILED}")
        if self.device is not Device.cpu and self.kernels is Kernels.int8:
            raise ValueError("`kernels` can be int8 only with device=cpu")


class TorchRuntime(Runtime[TorchOptions]):
    """Plays the torch module in FP32 (the yardstick), or a torch program of any precision."""

    name = "torch"
    accepts = frozenset({"torch", "torch_export"})
    precisions = frozenset({"fp32", "fp16", "bf16", "int8", "dynamic"})
    Options = TorchOptions
    libraries = (Requirement("torch", "pip install torch"),)

    @classmethod
    def findings(cls) -> Sequence[Notice]:
        """Return the devices, the 16-bit floats that pay, and whether a C++ compiler is here."""
        from plugins.runtime._torch_kernels import compiler
        from plugins.runtime._torch_kernels.devices import native, present

        here = ", ".join(f"{one.name} ({title})" for one, title in present().items())
        pays = " and ".join(one.name for one in Half if native(one)) or "no 16-bit float"
        found = compiler()
        text = f"compiles with {found}" if found else "cannot compile: there is no C++ compiler"
        return (
            Notice("info", f"devices: {here}; the processor multiplies natively in {pays}"),
            Notice("info", text),
        )

    def machine(self) -> Mapping[str, Fact]:
        """Return the device and its features: PyTorch's kernels differ by them."""
        from plugins.runtime._torch_kernels.devices import facts

        return facts(self.options.device)

    def advice(self, spec: ArtifactSpec) -> Sequence[Notice]:
        """Warn of a device that is missing, and of 16 bits that are not faster than FP32 here."""
        from plugins.runtime._torch_kernels.devices import missing, not_faster

        options = self.options
        why = missing(options.device)
        if why:
            replaced = "the CPU computes" if options.allow_fallback else "the run will end"
            return (Notice("warning", f"{why}: {replaced}"),)
        half = options.autocast or next((h for h in Half if h.name == spec.precision), None)
        if half is None or options.device is not Device.cpu:
            return ()
        said = not_faster(half, compiled=options.compile)
        return (Notice("warning", said),) if said else ()

    def open(
        self, artifact: Artifact, model: Callable[[], TorchModel], work: StageContext
    ) -> Session:
        """Open the torch module, or the program that was made of it.

        Raises StageError where an option asks for something that this machine lacks.
        """
        from plugins.runtime._torch_kernels.devices import chosen
        from plugins.runtime._torch_kernels.repeats import Repeats

        options = self.options
        device = chosen(options.device, allow_fallback=options.allow_fallback)
        if artifact.format == "torch":
            work.progress(0, 0, "opening the torch module")
            opened = model()
            core = opened.core.eval()
            # On another device it needs a copy: the opened model is shared.
            module = core if device is Device.cpu else copy.deepcopy(core).to(device.name)
            session: Session = self._session(module, opened.info, device, options.autocast)
        else:
            work.progress(0, 0, "opening the torch program")
            session = self._program(artifact, device, work)
        return Repeats(session, options.cache_windows) if options.cache_windows else session

    def _program(self, artifact: Artifact, device: Device, work: StageContext) -> Session:
        import torch

        from core.formats.torch_export import load, operator, zeros
        from plugins.runtime._torch_kernels import quantised
        from plugins.runtime._torch_kernels.devices import moved

        program = load(Path(artifact.path))
        given = zeros(program)
        module = moved(program, device).module(check_guards=False)
        assert isinstance(module, torch.fx.GraphModule)
        how, facts = self._integers(module, device)
        # Where `kernels` asks for floats, they are no surprise.
        asked = self.options.kernels is Kernels.simulated
        floats = [] if asked else [(node.name, operator(node)) for node in quantised(module)]
        half = next((one for one in Half if one.name == artifact.precision), None)
        if self.options.compile:
            work.progress(0, 0, "compiling the torch program")
        return self._session(
            module,
            artifact.info,
            device,
            half or self.options.autocast,
            how=how,
            facts=facts,
            takes=given,
            floats=floats,
        )

    def _session(
        self,
        module: torch.nn.Module,
        info: ModelInfo,
        device: Device,
        half: Half | None,
        *,
        how: Sequence[str] = (),
        takes: Sequence[torch.Tensor] = (),
        **about: Any,
    ) -> TorchSession:
        """Open a session; what is compiled runs one window of zeros, if its shape is known."""
        from plugins.runtime._torch_kernels import TorchSession, compiled
        from plugins.runtime._torch_kernels.devices import slow
        from plugins.runtime._torch_kernels.session import Widened

        options, widened = self.options, Widened.no
        labels = [*how, *([f"autocast {options.autocast.name}"] if options.autocast else [])]
        if half is not None and device is Device.cpu and not options.compile:
            if options.kernels is Kernels.simulated:
                widened = Widened.asked
            elif slow(half):
                widened = Widened.unasked
            labels += [f"{half.name} rounded from floats"] if widened is not Widened.no else []
        labels += ["compiled"] if options.compile else []
        session = TorchSession(
            compiled(module) if options.compile else module,
            info,
            threads=options.threads,
            device=device,
            asked=options.device,
            how=labels,
            takes=takes,
            autocast=options.autocast,
            widened=widened,
            compiled=options.compile,
            **about,
        )
        return session.warm(1) if options.compile and takes else session

    def _integers(
        self, module: torch.fx.GraphModule, device: Device
    ) -> tuple[list[str], dict[str, Fact]]:
        """Put integer kernels into a quantised program, as `kernels` says; a float one stays."""
        from plugins.runtime._torch_kernels import fuse, quantised, why_not

        count = len(quantised(module))
        if not count:
            return [], {}
        wanted = self.options.kernels
        reason = UNCOMPILED if self.options.compile else why_not(module)
        if device is not Device.cpu:
            reason = "the kernels are those of a processor"
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
