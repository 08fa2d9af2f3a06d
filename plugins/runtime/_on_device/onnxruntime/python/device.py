"""The back ends of a graph that ONNX Runtime plays: the provider of the recipe, then the CPU."""

import importlib
from collections.abc import Callable
from pathlib import Path

import cpu
import onnxruntime

#: The packages that plug a provider in; all others are part of a build of ONNX Runtime.
MODULES = {
    "NvTensorRTRTXExecutionProvider": "onnxruntime_ep_nv_tensorrt_rtx",
    "OpenVINOExecutionProvider": "onnxruntime_ep_openvino",
    "WebGpuExecutionProvider": "onnxruntime_ep_webgpu",
}
CPU = "CPUExecutionProvider"


def backends(folder: Path, metadata: dict) -> list[tuple[str, str, Callable]]:
    """Return a name, the artifact that is played (`model`), and a function that opens it."""
    file, runtime = cpu.inside(folder, metadata["model"]["file"]), metadata["runtime"]
    provider = runtime.get("execution_provider", CPU)
    every = [("CPU", "model", lambda: cpu.open_on_cpu(file))]
    if provider != CPU:
        options = runtime.get("provider_options", {})
        every.insert(0, (provider, "model", lambda: opened(file, provider, options)))
    return every


def opened(file: Path, provider: str, given: dict) -> onnxruntime.InferenceSession:
    """Return the graph on another provider than the CPU; raises RuntimeError where it is absent.

    Nodes that the provider does not take are computed by the CPU.
    """
    options = onnxruntime.SessionOptions()
    if provider in MODULES:
        if all(device.ep_name != provider for device in onnxruntime.get_ep_devices()):
            module = importlib.import_module(MODULES[provider])
            onnxruntime.register_execution_provider_library(provider, module.get_library_path())
        devices = [one for one in onnxruntime.get_ep_devices() if one.ep_name == provider]
        if not devices:
            raise RuntimeError(f"{provider} finds no device on this machine")
        options.add_provider_for_devices(devices[:1], given)
        return onnxruntime.InferenceSession(str(file), options)
    if provider not in onnxruntime.get_available_providers():
        raise RuntimeError(f"this build of ONNX Runtime has no {provider}")
    session = onnxruntime.InferenceSession(str(file), options, providers=[(provider, given), CPU])
    if session.get_providers()[0] != provider:
        raise RuntimeError(f"{provider} found no device or library: its log says which")
    return session
