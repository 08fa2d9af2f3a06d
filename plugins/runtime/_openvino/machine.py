"""The devices that OpenVINO has here, what they compute in, and what a recipe gets of it."""

from __future__ import annotations

import platform
from dataclasses import dataclass
from enum import Enum
from functools import cache
from typing import TYPE_CHECKING

from core.plugin.values import Fact

if TYPE_CHECKING:
    import openvino

__all__ = [
    "Choice",
    "Float",
    "Found",
    "Kernels",
    "choose",
    "devices",
    "facts",
    "found",
    "library",
    "processor",
    "version",
    "why_inexact",
]


class Float(Enum):
    """The type that operators in floating point compute in, by OpenVINO's names."""

    f32 = "fp32"
    bf16 = "bf16"
    f16 = "fp16"


class Kernels(Enum):
    """The kernels for quantised operators."""

    auto = "auto"
    int8 = "int8"
    simulated = "simulated"


#: OpenVINO's name for the ability to compute in a type.
_ABLE = {Float.f32: "FP32", Float.bf16: "BF16", Float.f16: "FP16"}
#: `platform.machine()` of processors by Intel and AMD, in lower case.
X86 = ("x86_64", "amd64")
#: Features of a processor for which OpenVINO has kernels of their own, whose sums differ.
_FEATURES = (
    "avx2", "avx512_f", "avx512_vnni", "avx_vnni", "avx512_bf16", "avx512_fp16",
    "amx_bf16", "amx_int8", "amx_fp16",
)  # fmt: skip


@dataclass(frozen=True)
class Found:
    """A device: the vendor's name of it, and what it is able to (`FP32`, `INT8`)."""

    title: str
    able: tuple[str, ...]

    def floats(self) -> list[str]:
        """Return the floating-point types that it computes in, as options name them."""
        return [kind.name for kind in Float if _ABLE[kind] in self.able]


@dataclass(frozen=True)
class Choice:
    """The device and the type that a session gets; `reasons` say why they are not those asked."""

    device: str
    float_: Float
    reasons: tuple[str, ...] = ()


@cache
def library() -> openvino.Core:
    """Return the process's one OpenVINO: a second one would load every device's library again."""
    import openvino

    return openvino.Core()


def version() -> str:
    """Return the version of OpenVINO without its build number."""
    import openvino

    return str(openvino.__version__).split("-", maxsplit=1)[0]


@cache
def devices() -> dict[str, Found]:
    """Return the devices of this machine by OpenVINO's names for them (`CPU`, `GPU.1`)."""
    core = library()
    return {
        name: Found(
            str(core.get_property(name, "FULL_DEVICE_NAME")).strip(),
            tuple(sorted(core.get_property(name, "OPTIMIZATION_CAPABILITIES"))),
        )
        for name in core.available_devices
    }


@cache
def processor() -> tuple[str, ...]:
    """Return the features of this processor that change what OpenVINO computes on it."""
    import torch

    able = torch.cpu.get_capabilities()
    return tuple(name for name in _FEATURES if able.get(name))


def found(device: str) -> Found | None:
    """Return a device of this machine; `GPU` is the first of several. None where there is none."""
    return devices().get(device) or devices().get(f"{device}.0")


def why_inexact(device: str) -> str:
    """Return why kernels for 8 bits give wrong sums on a device; "" where they are exact.

    On x86 without VNNI, OpenVINO 2026.4.1 adds pairs of products in 16 bits, as ONNX Runtime does
    by default: the small HTDemucs at a8w8 had 2 dB in place of 13.
    """
    if device != "CPU" or platform.machine().lower() not in X86:
        return ""
    exact = {"avx512_vnni", "avx_vnni", "amx_int8"}
    if exact.isdisjoint(processor()):
        return "this processor has no VNNI, and OpenVINO's 8-bit kernels saturate on it"
    return ""


def facts(device: str) -> dict[str, Fact]:
    """Return what results depend on: the device, its abilities, and the processor's features."""
    about = found(device)
    if about is None:
        return {"device": f"no {device}"}
    named: dict[str, Fact] = {"device": about.title, "able": [*about.able]}
    return {**named, "processor": [*processor()]} if device == "CPU" else named


def choose(device: str, float_: Float) -> Choice:
    """Return what a session gets here if it may have something else than it asks for.

    A device that is missing gives way to the CPU, a type that the device lacks to the most exact
    one that it has. OpenVINO itself computes in float32 without a word where a processor lacks
    bfloat16.
    """
    reasons = []
    about = found(device)
    if about is None:
        known = ", ".join(f"{name} ({one.title})" for name, one in devices().items())
        reasons.append(f"OpenVINO finds no {device} on this machine, which has {known}")
        device, about = "CPU", devices()["CPU"]
    floats = about.floats()
    if float_.name not in floats:
        reasons.append(
            f"{device} ({about.title}) does not compute in {float_.name}, but in "
            f"{', '.join(floats) or 'integers'}"
        )
        float_ = Float[floats[0]] if floats else Float.f32
    return Choice(device, float_, tuple(reasons))
