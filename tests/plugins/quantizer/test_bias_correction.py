"""Biases correct the mean error of rounded weights, for every form of layer."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from core import Calibration, StageContext
from core.conformance.converter import artifact
from core.plugin.progress import silent
from plugins.quantizer._onnx.graph.biased import layers_of
from plugins.quantizer._onnx.qdq.bias_correction import correct
from plugins.quantizer._onnx.qdq.options import Activation, QdqOptions, Weight
from plugins.quantizer.qdq import Qdq

#: Operator, shape of its input, shape of its weights, attributes.
FORMS = {
    "conv": ("Conv", [1, 8, 64], [6, 8, 3], {}),
    "grouped": ("Conv", [1, 8, 64], [6, 4, 3], {"group": 2}),
    "transposed": ("ConvTranspose", [1, 8, 64], [8, 6, 4], {"strides": [2]}),
    "gemm": ("Gemm", [4, 8], [8, 6], {}),
    "gemm transposed": ("Gemm", [4, 8], [6, 8], {"transB": 1}),
}
OPSETS = (11, 18)


def _written(form: str, opset: int, folder: Path) -> Path:
    operator, shape, weights, given = FORMS[form]
    random = np.random.default_rng(1)
    node = helper.make_node(operator, ["x", "w", "b"], ["y"], name="layer", **given)
    graph = helper.make_graph(
        [node], "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [
            numpy_helper.from_array(random.standard_normal(weights).astype(np.float32), "w"),
            numpy_helper.from_array(random.standard_normal(6).astype(np.float32), "b"),
        ],
    )  # fmt: skip
    folder.mkdir()
    opsets = [helper.make_opsetid("", opset)]
    path = folder / "model.onnx"
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), path)
    return path


def _run(path: Path, feeds: dict[str, np.ndarray]) -> np.ndarray:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    found: np.ndarray = session.run(None, feeds)[0]
    return found


@pytest.mark.parametrize("opset", OPSETS)
@pytest.mark.parametrize("form", FORMS)
def test_no_channel_is_off_on_average(form: str, opset: int, tmp_path: Path) -> None:
    """Bias correction removes each channel's mean error of 4-bit weights, up to a small rest."""
    source = _written(form, opset, tmp_path / "float")
    random = np.random.default_rng(2)
    shape = FORMS[form][1]
    means = np.linspace(1, 3, 8).reshape([8, *[1] * (len(shape) - 2)])
    windows = [
        {"x": (means + 0.1 * random.standard_normal(shape)).astype(np.float32)} for _ in range(8)
    ]
    (tmp_path / "out").mkdir()
    options = QdqOptions(weight=Weight.int4, activation=Activation.uint16, windows=8)
    made = Qdq(options).run(
        artifact(tmp_path / "float", source, "onnx", "fp32"),
        Calibration(8, lambda: iter(windows)),
        StageContext(tmp_path / "out", silent()),
    )
    lowered = onnx.load(str(made.path))

    def off(path: Path) -> float:
        errors = [_run(path, feeds) - _run(source, feeds) for feeds in windows]
        axis = 1
        inner = [error[..., 2:-2] if error.ndim > 2 else error for error in errors]
        both = tuple(a for a in range(inner[0].ndim) if a != axis)
        return float(np.abs(np.mean([error.mean(both) for error in inner], axis=0)).max())

    after = off(Path(made.path))
    layers = layers_of(onnx.load(str(source)))
    # Without the correction, the error is over ten times as large.
    mean = np.mean([feeds["x"].mean(tuple(a for a in range(len(shape)) if a != 1))
                    for feeds in windows], axis=0)  # fmt: skip
    assert correct(lowered, layers, {"x": -mean}) == 1
    onnx.save(lowered, tmp_path / "worse.onnx")
    assert off(tmp_path / "worse.onnx") > 10 * after


def test_what_cannot_be_corrected_is_left(tmp_path: Path) -> None:
    """A graph without integers, and missing or invalid means, leave the graph unchanged."""
    source = _written("conv", 18, tmp_path / "float")
    model = onnx.load(str(source))
    layers = layers_of(model)
    assert [layer.node for layer in layers] == ["layer"]
    for means in ({}, {"x": np.full(8, np.nan)}, {"x": np.ones(8)}):
        assert correct(model, layers, means) == 0
    assert model.SerializeToString() == onnx.load(str(source)).SerializeToString()
