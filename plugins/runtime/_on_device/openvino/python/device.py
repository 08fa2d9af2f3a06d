"""The back ends of a model that OpenVINO plays: its device, then the CPU."""

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import cpu

sys.modules["openvino_telemetry"] = None  # OpenVINO would report its use when it is imported


class Opened:
    """The model, with the methods of an ONNX Runtime session that `window.py` calls."""

    def __init__(self, file: Path, device: str, precision: str, core: dict) -> None:
        """Compile for a device; without the hints OpenVINO may choose a coarser type itself."""
        import openvino

        model = openvino.Core().read_model(file)
        self.inputs = [named(port, core["inputs"]) for port in model.inputs]
        self.outputs = [named(port, core["outputs"]) for port in model.outputs]
        hints = {"INFERENCE_PRECISION_HINT": precision, "EXECUTION_MODE_HINT": "ACCURACY"}
        self.model = openvino.compile_model(model, device, hints)

    def get_inputs(self) -> list:
        """Return an object for each input, with its name."""
        return [SimpleNamespace(name=name) for name in self.inputs]

    def get_outputs(self) -> list:
        """Return an object for each output, with its name."""
        return [SimpleNamespace(name=name) for name in self.outputs]

    def run(self, names: list, feeds: dict) -> list:
        """Return the outputs of these names."""
        results = self.model({i: feeds[name] for i, name in enumerate(self.inputs)})
        return [results[self.outputs.index(name)] for name in names]


def named(port: object, known: list) -> str:
    """Return the name of an input or output; it may have several."""
    names = port.get_names()
    return next((name for name in known if name in names), min(names, default=""))


def backends(folder: Path, metadata: dict) -> list[tuple[str, str, Callable]]:
    """Return a name, the artifact that is played, and a function that opens it.

    The weights of the model lie in a file beside it.
    """
    file, runtime = cpu.inside(folder, metadata["model"]["file"]), metadata["runtime"]
    devices = {"CPU": "f32", runtime["device"]: runtime["precision"]}
    return [
        (
            f"{device} (OpenVINO)",
            "model",
            partial(Opened, file, device, precision, metadata["core"]),
        )
        for device, precision in reversed(devices.items())
    ]
