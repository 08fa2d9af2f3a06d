"""The back ends of a model for a Snapdragon: its NPU, its GPU, and the CPU."""

import platform
from collections.abc import Callable
from pathlib import Path

import cpu
import onnxruntime

NAME = "QNNExecutionProvider"


def backends(folder: Path, metadata: dict) -> list[tuple[str, str, Callable]]:
    """Return a name, the artifact that is played, and a function that opens it."""
    model, fallback = (cpu.inside(folder, metadata[name]["file"]) for name in ("model", "fallback"))
    return [
        ("NPU", "model", lambda: on_snapdragon(model, "htp")),
        ("GPU", "fallback", lambda: on_snapdragon(fallback, "gpu")),
        ("CPU", "fallback", lambda: cpu.open_on_cpu(fallback)),
    ]


def on_snapdragon(file: Path, backend: str) -> onnxruntime.InferenceSession:
    """Open a model on a back end of QNN, whole; raises where there is none.

    Another processor would emulate the NPU, far more slowly than its CPU computes.
    """
    machine = platform.machine()
    if machine.lower() not in {"aarch64", "arm64"}:
        raise RuntimeError(f"this processor ({machine}) is no Snapdragon")
    try:
        import onnxruntime_qnn
    except ModuleNotFoundError:
        raise RuntimeError("pip install onnxruntime-qnn first") from None
    if all(device.ep_name != NAME for device in onnxruntime.get_ep_devices()):
        onnxruntime.register_execution_provider_library(NAME, onnxruntime_qnn.get_library_path())
    devices = [device for device in onnxruntime.get_ep_devices() if device.ep_name == NAME]
    if not devices:
        raise RuntimeError("the library of QNN finds no device")
    options = onnxruntime.SessionOptions()
    # A graph that the GPU cannot take whole must not be computed by the CPU in the GPU's name.
    options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
    paths = {"htp": onnxruntime_qnn.get_qnn_htp_path, "gpu": onnxruntime_qnn.get_qnn_gpu_path}
    options.add_provider_for_devices(devices[:1], {"backend_path": paths[backend]()})
    return onnxruntime.InferenceSession(str(file), options)
