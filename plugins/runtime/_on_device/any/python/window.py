"""Runs one window: into the model's inputs, through the model, and back. Needs ONNX Runtime."""

from pathlib import Path

import cpu
import device


class Window:
    """The models of the bundle, opened once."""

    def __init__(self, folder: Path, metadata: dict) -> None:
        """Open the models; `device.py` decides which device computes the model."""
        graphs = metadata["host_graphs"]
        self.tensors = metadata["tensors"]
        self.sessions = [device.open_model(folder, metadata)]
        if graphs:
            before, after = (
                cpu.open_on_cpu(cpu.inside(folder, graphs[name]["file"]))
                for name in ("forward", "inverse")
            )
            self.sessions = [before, *self.sessions, after]
        self.adds_batch = not graphs

    def run(self, inputs: dict) -> dict:
        """Map arrays to arrays, by the names and of the types of the signature."""
        outside = self.tensors["inputs"]
        values = {outside[name]: a[None] if self.adds_batch else a for name, a in inputs.items()}
        for session in self.sessions:
            feeds = {value.name: values[value.name] for value in session.get_inputs()}
            names = [value.name for value in session.get_outputs()]
            values |= dict(zip(names, session.run(names, feeds), strict=True))
        made = {name: values[tensor] for name, tensor in self.tensors["outputs"].items()}
        return {name: array[0] if self.adds_batch else array for name, array in made.items()}
