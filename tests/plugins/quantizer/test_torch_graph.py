"""ONNX graphs in PyTorch: the same results as ONNX Runtime, and the gradients of the rounding."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from core import Artifact, Calibration, StageError
from core.measure import snr_db
from plugins.quantizer.onnx_graph.calibrate import Method
from plugins.quantizer.qat import Activation, Qat, Weight
from plugins.quantizer.torch_graph.network import Network
from plugins.quantizer.torch_graph.rounding import rounded
from plugins.quantizer.torch_graph.written import written
from tests.plugins.networks import exported, feeds, hybrid, separator, work_in


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """Compute tiny networks in one thread: on a busy machine, waiting for others takes longer."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


RANDOM = np.random.default_rng(0)


def _values(*shape: int) -> np.ndarray:
    return RANDOM.standard_normal(shape).astype(np.float32)


def _whole(*numbers: int) -> np.ndarray:
    return np.array(numbers, np.int64)


#: Operator, its input of shape (1, 4, 6), further inputs that are constants, its attributes.
CASES: list[tuple[str, list[np.ndarray | None], dict[str, Any]]] = [
    ("Conv", [_values(8, 2, 3), _values(8)], {"group": 2, "strides": [2], "pads": [2, 1]}),
    ("Conv", [_values(8, 4, 3)], {"dilations": [2], "pads": [2, 2]}),
    ("ConvTranspose", [_values(4, 3, 4), _values(3)], {"strides": [2], "pads": [1, 2]}),
    ("ConvTranspose", [_values(4, 3, 4)], {"strides": [3], "output_padding": [1]}),
    ("MatMul", [_values(6, 5)], {}),
    ("Add", [_values(4, 1)], {}),
    ("Sub", [_values(6)], {}),
    ("Mul", [_values(1, 4, 1)], {}),
    ("Div", [_values(6) ** 2 + 1], {}),
    ("Pow", [np.array(2, np.float32)], {}),
    ("Gelu", [], {}),
    ("Gelu", [], {"approximate": "tanh"}),
    ("Sigmoid", [], {}),
    ("Tanh", [], {}),
    ("Relu", [], {}),
    ("Exp", [], {}),
    ("Abs", [], {}),
    ("Neg", [], {}),
    ("Softmax", [], {"axis": 1}),
    ("LayerNormalization", [_values(6), _values(6)], {"epsilon": 1e-3}),
    ("LayerNormalization", [_values(4, 6)], {"axis": 1}),
    ("InstanceNormalization", [_values(4), _values(4)], {"epsilon": 1e-3}),
    ("ReduceMean", [_whole(1, 2)], {"keepdims": 0}),
    ("ReduceMean", [], {}),
    ("ReduceSum", [_whole(-1)], {}),
    ("Reshape", [_whole(0, 2, -1)], {}),
    ("Transpose", [], {"perm": [0, 2, 1]}),
    ("Transpose", [], {}),
    ("Slice", [_whole(1, -4), _whole(3, 9999), _whole(1, 2)], {}),
    ("Slice", [_whole(-1), _whole(-(2**62)), _whole(2), _whole(-2)], {}),
    ("Split", [_whole(1, 3)], {"axis": 1}),
    ("Split", [], {"axis": 2, "num_outputs": 3}),
    ("Squeeze", [_whole(0)], {}),
    ("Squeeze", [], {}),
    ("Unsqueeze", [_whole(0, -1)], {}),
    ("Gather", [_whole(2, -1)], {"axis": 1}),
    ("Gather", [np.array(1, np.int64)], {"axis": 2}),
    ("Pad", [_whole(0, 1, 2, 0, 0, 3)], {}),
    ("Pad", [_whole(2, 1), np.array(0.5, np.float32), _whole(2)], {}),
    ("Pad", [_whole(0, 0, 2, 0, 0, 3)], {"mode": "reflect"}),
    ("Clip", [np.array(-0.5, np.float32), np.array(0.25, np.float32)], {}),
    ("Clip", [None, np.array(0.25, np.float32)], {}),
    ("Expand", [_whole(3, 1, 6)], {}),
    ("Concat", [_values(1, 2, 6)], {"axis": 1}),
    ("Identity", [], {}),
]


def _model(operator: str, constants: list[np.ndarray | None], attributes: dict[str, Any]) -> Any:
    names = [f"c{i}" if array is not None else "" for i, array in enumerate(constants)]
    count = {"Split": attributes.get("num_outputs", 2)}.get(operator, 1)
    outputs = [f"y{i}" for i in range(count)]
    node = helper.make_node(operator, ["x", *names], outputs, name="one", **attributes)
    graph = helper.make_graph(
        [node],
        "test",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 4, 6])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
        [
            numpy_helper.from_array(array, name)
            for name, array in zip(names, constants, strict=True)
            if array is not None
        ],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


def _reference(model: onnx.ModelProto, given: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Run a graph in ONNX Runtime as it is written, node by node."""
    settings = onnxruntime.SessionOptions()
    settings.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(model.SerializeToString(), settings)
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, given), strict=True))


def _run(network: Network, given: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    with torch.no_grad():
        outputs = network.run({name: torch.from_numpy(array) for name, array in given.items()})
    return {name: tensor.numpy() for name, tensor in outputs.items()}


@pytest.mark.parametrize(("operator", "constants", "attributes"), CASES)
def test_an_operator_computes_what_onnx_runtime_computes(
    operator: str, constants: list[np.ndarray | None], attributes: dict[str, Any]
) -> None:
    """Every output, to over 100 dB, with attributes that a careless translation would miss."""
    model = _model(operator, constants, attributes)
    given = {"x": _values(1, 4, 6)}
    expected, actual = _reference(model, given), _run(Network(model), given)
    for name, array in expected.items():
        assert snr_db(array, actual[name]) > 100


def test_gemm_transposes_and_scales() -> None:
    """Alpha, beta and both transpositions."""
    constants = [_values(5, 4), _values(5)]
    attributes = {"alpha": 0.5, "beta": 2.0, "transA": 1, "transB": 1}
    model = _model("Gemm", constants, attributes)
    model.graph.input[0].CopyFrom(helper.make_tensor_value_info("x", TensorProto.FLOAT, [4, 6]))
    given = {"x": _values(4, 6)}
    assert snr_db(_reference(model, given)["y0"], _run(Network(model), given)["y0"]) > 100


def test_an_operator_that_is_not_known_is_named() -> None:
    """With its node, what is known, and what to do."""
    with pytest.raises(StageError, match="`Mish` has no gradient here") as caught:
        Network(_model("Mish", [], {}))
    assert caught.value.lines[0] == "node: one"
    assert "quantizer=qdq" in caught.value.lines[-1]


@pytest.fixture(scope="module", params=["separator", "hybrid"])
def given(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    """Return a small network, exported in float."""
    model = {"separator": separator, "hybrid": hybrid}[request.param]()
    return exported(model, tmp_path_factory.mktemp(request.param) / "export")


def _feeds(artifact: Artifact, seed: int) -> dict[str, np.ndarray]:
    return feeds(hybrid() if len(artifact.info.core_inputs) > 1 else separator(), seed)


def _static(artifact: Artifact, folder: Path, **options: Any) -> onnx.ModelProto:
    """Return the graph with the ranges that learning starts from."""
    quantizer = Qat(Qat.Options(steps=0, windows=3, method=Method.minmax, **options))
    windows = Calibration(3, lambda: (_feeds(artifact, seed) for seed in range(3)))
    return onnx.load(str(quantizer.run(artifact, windows, work_in(folder)).path))


def test_a_float_graph_gives_the_same(given: Artifact) -> None:
    """Over 90 dB on every output."""
    model, window = onnx.load(given.path), _feeds(given, 9)
    expected, actual = _reference(model, window), _run(Network(model), window)
    for name, array in expected.items():
        assert snr_db(array, actual[name]) > 90


@pytest.mark.parametrize(
    "options",
    [{}, {"activation": Activation.uint16}, {"weight": Weight.uint8}, {"per_channel": False}],
    ids=str,
)
def test_a_rounded_graph_gives_the_same(
    given: Artifact, options: dict[str, Any], tmp_path: Path
) -> None:
    """Far nearer to ONNX Runtime than the rounding is to float: the integers are the same."""
    model, window = _static(given, tmp_path / "work", **options), _feeds(given, 9)
    expected, actual = _reference(model, window), _run(Network(model), window)
    for name, array in expected.items():
        assert snr_db(array, actual[name]) > 50


def test_nothing_learned_is_written_as_it_was(given: Artifact, tmp_path: Path) -> None:
    """Integers, scales and zero points come back bit by bit, so that a state is a graph."""
    model = _static(given, tmp_path / "work")
    before = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    after = written(Network(model), model)
    for tensor in after.graph.initializer:
        array = numpy_helper.to_array(tensor)
        assert array.dtype == before[tensor.name].dtype
        np.testing.assert_allclose(array, before[tensor.name], rtol=1e-6)


@pytest.mark.parametrize("shape", [(), (4, 1, 1)], ids=["whole", "per channel"])
def test_the_gradient_passes_through_what_is_in_the_range(shape: tuple[int, ...]) -> None:
    """Values are rounded and clipped; clipped ones get no gradient, and move the range instead."""
    x = torch.from_numpy(_values(4, 5, 6)).requires_grad_()
    scale = torch.full(shape, 0.011, requires_grad=True)
    zero = torch.full(shape, 100.0)
    low, high = -100 * 0.011, 155 * 0.011
    result = rounded(x, scale, zero, 0, 255)
    expected = (x / 0.011).round().clamp(-100, 155) * 0.011
    torch.testing.assert_close(result, expected)
    result.sum().backward()
    assert x.grad is not None
    assert scale.grad is not None
    inside = (x > low) & (x < high)
    torch.testing.assert_close(x.grad, inside.float())
    assert 0 < inside.sum() < inside.numel()
    assert scale.grad.shape == shape
    assert (scale.grad != 0).all()
