"""The devices that PyTorch finds on this machine, and the 16-bit floats that each computes fast."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from enum import Enum
from typing import TYPE_CHECKING

from core.errors import StageError
from core.plugin.values import Fact

if TYPE_CHECKING:
    import torch

__all__ = [
    "Device",
    "Half",
    "chosen",
    "facts",
    "label",
    "missing",
    "moved",
    "native",
    "not_faster",
    "present",
    "slow",
]


class Device(Enum):
    """What computes, by PyTorch's name."""

    cpu = "CPU"
    cuda = "GPU by NVIDIA or AMD"
    mps = "GPU by Apple"


class Half(Enum):
    """A float of 16 bits: its name, and PyTorch's name of it."""

    bf16 = "bfloat16"
    fp16 = "float16"


#: Features of a processor that multiply in these types. AVX-512 alone computes bf16 by converting,
#: no faster than FP32.
_NATIVE = {
    Half.bf16: ("avx512_bf16", "amx_bf16", "bf16", "sve_bf16"),
    Half.fp16: ("avx512_fp16", "amx_fp16", "fp16_arith"),
}
#: Features for which PyTorch's libraries have kernels of their own, whose sums differ.
_FEATURES = (
    "avx2", "avx512_f", "avx512_vnni", "avx_vnni", "avx512_bf16", "avx512_fp16", "amx_bf16",
    "amx_int8", "amx_fp16", "neon", "sve", "bf16", "fp16_arith", "i8mm", "dot",
)  # fmt: skip


def present() -> dict[Device, str]:
    """Return the devices of this machine with their titles; the processor is always one."""
    import torch

    found = {Device.cpu: str(torch.cpu.get_capabilities().get("cpu_name") or platform.machine())}
    if torch.cuda.is_available():
        found[Device.cuda] = torch.cuda.get_device_name()
    if torch.backends.mps.is_available():
        found[Device.mps] = platform.processor() or "Apple"
    return found


def missing(device: Device) -> str:
    """Return that a device is not here, and what is; "" where it is here."""
    here = present()
    if device in here:
        return ""
    known = ", ".join(f"{one.name} ({title})" for one, title in here.items())
    return f"PyTorch finds no {device.name} on this machine, which has {known}"


def chosen(device: Device, *, allow_fallback: bool) -> Device:
    """Return the device to use: `device`, or the processor if that is missing and may be replaced.

    Raises StageError for a missing device that may not be replaced.
    """
    why = missing(device)
    if why and not allow_fallback:
        raise StageError(
            why,
            "ask for what is here: runtime.device=cpu",
            "or take it without asking: runtime.allow_fallback=true",
        )
    return Device.cpu if why else device


def label(device: Device, how: Sequence[str]) -> str:
    """Return a device in words with PyTorch's version: `CPU (PyTorch 2.13.0, x86_64)`."""
    import torch

    version = torch.__version__.partition("+")[0]
    on = platform.machine() if device is Device.cpu else present()[device]
    return f"{device.name.upper()} ({', '.join((f'PyTorch {version}', on, *how))})"


def native(half: Half) -> bool:
    """Return whether this processor multiplies in a 16-bit type, which pays."""
    import torch

    able = torch.cpu.get_capabilities()
    return any(able.get(feature) for feature in _NATIVE[half])


def slow(half: Half) -> bool:
    """Return whether PyTorch has only its slowest kernels for a 16-bit type on this processor.

    oneDNN has none for x86 without AVX-512. Then PyTorch 2.13 multiplies number by number: a
    window of the small HTDemucs took at least seven times as long as in FP32.
    """
    import torch

    known = f"_is_mkldnn_{half.name}_supported"  # torch has no public name for it
    return not native(half) and not getattr(torch.ops.mkldnn, known)()


def facts(device: Device) -> dict[str, Fact]:
    """Return what results depend on: the device, and the features of a processor."""
    import torch

    title = present().get(device)
    if device is not Device.cpu or title is None:
        return {"device": title or f"no {device.name}"}
    able = torch.cpu.get_capabilities()
    return {"device": title, "features": [name for name in _FEATURES if able.get(name)]}


def not_faster(half: Half, *, compiled: bool) -> str:
    """Return why 16 bits do not pay on this processor; "" where they do."""
    if native(half):
        return ""
    name = half.name
    said = f"this processor does not multiply in {name}, so that {name} is not faster than FP32"
    if not slow(half):
        return said
    if compiled:
        return f"{said}; compiled, it is several times slower: choose runtime.compile=false"
    return f"{said}: products compute in FP32 and are rounded to {name}"


def moved(program: torch.export.ExportedProgram, device: Device) -> torch.export.ExportedProgram:
    """Return a program with its weights, and the tensors that it makes, on a device."""
    if device is Device.cpu:
        return program
    from torch.export.passes import move_to_device_pass

    return move_to_device_pass(program, device.name)
