"""The models in the `onnx` package for tests of a runtime, and the data beside them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["OnnxModel", "onnx_models"]

#: The opset to which a model is raised if ONNX Runtime lacks an operator of its own opset.
OPSET = 20
#: The noise of a window, as a part of the deviation of the data beside a model.
STRAY = 0.3


@dataclass(frozen=True)
class OnnxModel:
    """A model file, named after its folder."""

    name: str
    file: Path

    def loaded(self) -> Any:
        """Return the model."""
        import onnx

        return onnx.load(str(self.file))

    def raised(self) -> Any:
        """Return the model with the same operators at a newer opset."""
        from onnx import version_converter

        return version_converter.convert_version(self.loaded(), OPSET)

    def windows(self, count: int) -> list[dict[str, Any]]:
        """Return the data beside the model and `count - 1` similar windows, drawn by seeds.

        A window is the data times a gain of 0.7 to 1.3, plus noise. Integers that index something
        are drawn anew between the least and the greatest value of the data. Shapes, axes and texts
        stay unchanged.
        """
        model = self.loaded()
        inputs = _given(model)
        data = self._data(inputs)
        shaping = {
            name for node in model.graph.node if node.op_type != "Gather" for name in node.input
        }
        found = [data]
        for seed in range(1, count):
            source = np.random.default_rng(seed)
            found.append({
                name: array if name in shaping and array.dtype.kind != "f" else _like(array, source)
                for name, array in data.items()
            })  # fmt: skip
        return found

    def _data(self, inputs: list[Any]) -> dict[str, Any]:
        import onnx
        from onnx import helper, numpy_helper

        files = sorted(
            (self.file.parent / "test_data_set_0").glob("input_*.pb"),
            key=lambda file: int(file.stem.rpartition("_")[2]),
        )
        if files:
            tensors = [onnx.load_tensor(str(file)) for file in files]
            arrays = [numpy_helper.to_array(tensor) for tensor in tensors]
            return dict(zip((value.name for value in inputs), arrays, strict=True))
        source = np.random.default_rng(0)
        shapes = {
            v.name: ([d.dim_value or 1 for d in v.type.tensor_type.shape.dim], v) for v in inputs
        }
        return {
            name: source.standard_normal(shape).astype(
                helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)
            )
            for name, (shape, value) in shapes.items()
        }


def onnx_models() -> list[OnnxModel]:
    """Return the models whose files are installed, 149 of them in onnx 1.23.2."""
    import onnx

    folder = Path(onnx.__file__).parent / "backend" / "test" / "data"
    files = sorted(folder.glob("*/*/model.onnx")) + sorted(folder.glob("light/*.onnx"))
    return [
        OnnxModel((f.parent.name if f.name == "model.onnx" else f.stem).removeprefix("test_"), f)
        for f in files
    ]


def _given(model: Any) -> list[Any]:
    """Return the inputs that are not weights."""
    weights = {tensor.name for tensor in model.graph.initializer}
    return [value for value in model.graph.input if value.name not in weights]


def _like(array: Any, source: np.random.Generator) -> Any:
    if not array.size:
        return array
    if array.dtype.kind == "f":
        spread = float(array.std(dtype=np.float64)) or 1.0
        gain = source.uniform(0.7, 1.3)
        near = gain * array + STRAY * spread * source.standard_normal(array.shape)
        # Data that is never negative may be the argument of a root, or the base of a power.
        return (np.abs(near) if (array >= 0).all() else near).astype(array.dtype)
    if array.dtype.kind in "iu":
        return source.integers(array.min(), array.max() + 1, array.shape).astype(array.dtype)
    return array
