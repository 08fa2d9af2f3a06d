"""The execution providers that a recipe may name, what brings each, and what it is always told."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from importlib.util import find_spec

from core.errors import MissingLibraryError

__all__ = ["KNOWN", "Offer", "Provider", "check_installed", "installed"]


class Provider(Enum):
    """The execution providers, by ONNX Runtime's names for them."""

    cpu = "CPUExecutionProvider"
    coreml = "CoreMLExecutionProvider"
    cuda = "CUDAExecutionProvider"
    dml = "DmlExecutionProvider"
    migraphx = "MIGraphXExecutionProvider"
    openvino = "OpenVINOExecutionProvider"
    tensorrt_rtx = "NvTensorRTRTXExecutionProvider"
    webgpu = "WebGpuExecutionProvider"
    xnnpack = "XnnpackExecutionProvider"


@dataclass(frozen=True)
class Offer:
    """What brings a provider: a wheel that plugs it in, or a build of ONNX Runtime.

    `title` is its device in words, `module` the wheel's (empty for a part of a build), `install`
    the command. `options` are always set: without them the provider computes more coarsely than
    the graph says. `without` is what to do where it finds no device.
    """

    title: str
    install: str
    module: str = ""
    options: Mapping[str, str] = field(default_factory=dict)
    without: str = ""


#: What OpenVINO is told for each of its devices. The provider 1.8.1 takes the type that it computes
#: in from here only: its option `precision` is ignored, with a line in the log.
_OPENVINO = {
    "INFERENCE_PRECISION_HINT": "f32",
    "EXECUTION_MODE_HINT": "ACCURACY",
    "DYNAMIC_QUANTIZATION_GROUP_SIZE": "0",
    "PERFORMANCE_HINT": "LATENCY",
}
KNOWN: Mapping[Provider, Offer] = {
    Provider.cpu: Offer("CPU", "pip install onnxruntime"),
    Provider.coreml: Offer("CoreML", "pip install onnxruntime, on a Mac"),
    # TF32 rounds the factors of products to 10 bits, and is on by default.
    Provider.cuda: Offer(
        "CUDA",
        "pip install onnxruntime-gpu, in the place of onnxruntime",
        options={"use_tf32": "0"},
    ),
    Provider.dml: Offer(
        "DirectML", "pip install onnxruntime-directml, in the place of onnxruntime, on Windows"
    ),
    Provider.migraphx: Offer(
        "MIGraphX", "pip install onnxruntime-migraphx, in the place of onnxruntime"
    ),
    Provider.openvino: Offer(
        "OpenVINO",
        "pip install onnxruntime-ep-openvino",
        "onnxruntime_ep_openvino",
        {"load_config": json.dumps(dict.fromkeys(("CPU", "GPU"), _OPENVINO))},
        "it takes Intel's processors, GPUs and NPUs only; on others use runtime=openvino",
    ),
    Provider.tensorrt_rtx: Offer(
        "TensorRT for RTX",
        "pip install onnxruntime-ep-nv-tensorrt-rtx",
        "onnxruntime_ep_nv_tensorrt_rtx",
        without="it takes NVIDIA's GPUs with RTX only",
    ),
    Provider.webgpu: Offer(
        "WebGPU",
        "pip install onnxruntime-ep-webgpu",
        "onnxruntime_ep_webgpu",
        without="it needs a GPU with a driver (on Linux for Vulkan); to compute on the processor "
        "by a software adapter: runtime.software_adapter=true",
    ),
    Provider.xnnpack: Offer("XNNPACK", "build ONNX Runtime with --use_xnnpack: no wheel has it"),
}


def installed() -> list[Provider]:
    """Return the providers that are installed; their devices may be missing."""
    import onnxruntime

    built_in = onnxruntime.get_available_providers()
    return [
        provider
        for provider, offer in KNOWN.items()
        if provider.value in built_in or (offer.module and find_spec(offer.module) is not None)
    ]


def check_installed(provider: Provider) -> None:
    """Raise MissingLibraryError if nothing brings the provider, with the command that does."""
    here = installed()
    if provider not in here:
        raise MissingLibraryError(
            f"ONNX Runtime has no provider `{provider.name}` here",
            f"installed: {', '.join(one.name for one in here)}",
            f"to get it: {KNOWN[provider].install}",
        )
