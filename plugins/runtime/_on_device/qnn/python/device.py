"""Opens the context binary on the NPU of a Snapdragon, or the same graph on the CPU."""

import platform
import sys
from pathlib import Path

import cpu
import onnxruntime

NAME = "QNNExecutionProvider"


def open_model(folder: Path, metadata: dict) -> onnxruntime.InferenceSession:
    """Return the model of the bundle, opened; on another processor it would be emulated."""
    if platform.machine().lower() in {"aarch64", "arm64"}:
        try:
            return on_npu(str(cpu.inside(folder, metadata["model"]["file"])))
        except Exception as error:
            print(f"no NPU, so the CPU computes: {error}", file=sys.stderr)
    return cpu.open_on_cpu(cpu.inside(folder, metadata["fallback"]["file"]))


def on_npu(file: str) -> onnxruntime.InferenceSession:
    """Open a context binary; raises where there is no NPU, or no `onnxruntime-qnn`."""
    import onnxruntime_qnn

    if all(device.ep_name != NAME for device in onnxruntime.get_ep_devices()):
        onnxruntime.register_execution_provider_library(NAME, onnxruntime_qnn.get_library_path())
    devices = [device for device in onnxruntime.get_ep_devices() if device.ep_name == NAME]
    options = onnxruntime.SessionOptions()
    options.add_provider_for_devices(
        devices[:1], {"backend_path": onnxruntime_qnn.get_qnn_htp_path()}
    )
    return onnxruntime.InferenceSession(file, options)
