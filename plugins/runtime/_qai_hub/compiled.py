"""The interface file of a compiled model: names, shapes and types of its inputs and outputs."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import msgspec

from core import StageError

__all__ = ["Interface", "interface_of", "read", "write"]

FILE = "interface.json"


@dataclass(frozen=True)
class Port:
    """One tensor of a compiled model."""

    name: str
    shape: tuple[int, ...]
    dtype: str


@dataclass(frozen=True)
class Interface:
    """The tensors that go in and come out, in the order of the graph that was compiled."""

    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]

    @property
    def window_bytes(self) -> int:
        """Return how many bytes one window of inputs has."""
        import numpy as np

        return sum(math.prod(port.shape) * np.dtype(port.dtype).itemsize for port in self.inputs)


def interface_of(path: Path) -> Interface:
    """Read the interface of an ONNX graph; raises StageError where a length is not fixed."""
    import onnx

    graph = onnx.load(str(path), load_external_data=False).graph
    weights = {tensor.name for tensor in graph.initializer}
    inputs = tuple(_port(value, path) for value in graph.input if value.name not in weights)
    return Interface(inputs, tuple(_port(value, path) for value in graph.output))


def write(interface: Interface, folder: Path) -> None:
    """Write the interface beside a compiled model."""
    (folder / FILE).write_bytes(msgspec.json.format(msgspec.json.encode(interface)))


def read(folder: Path) -> Interface:
    """Read the interface that `write` wrote."""
    return msgspec.json.decode((folder / FILE).read_bytes(), type=Interface)


def _port(value: object, path: Path) -> Port:
    import onnx

    assert isinstance(value, onnx.ValueInfoProto)
    tensor = value.type.tensor_type
    if any(not d.HasField("dim_value") or d.dim_value < 1 for d in tensor.shape.dim):
        raise StageError(
            f"`{value.name}` has no fixed length, and an NPU compiles for one length only",
            f"at: {path}",
            "export a graph of fixed windows: exporter.dynamic=false, and a chunker that cuts",
        )
    dtype = onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type)
    return Port(value.name, tuple(d.dim_value for d in tensor.shape.dim), str(dtype))
