"""ONNX graphs in PyTorch have the results of ONNX Runtime and gradients of the rounding."""

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
from core.measure.metrics import snr_db
from core.plugin.progress import silent
from plugins.quantizer._onnx.calibration.collect import Method
from plugins.quantizer._qat.agreement import check_agreement
from plugins.quantizer._qat.lessons import Lessons
from plugins.quantizer._qat.network import Network
from plugins.quantizer._qat.operators import OPERATORS
from plugins.quantizer._qat.rounding import rounded
from plugins.quantizer._qat.written import written
from plugins.quantizer.qat import Activation, Qat, Weight
from tests.plugins.networks import exported, feeds, hybrid, separator, work_in


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """Compute tiny networks in one thread, because threads wait long on a busy machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


RANDOM = np.random.default_rng(0)


def _values(*shape: int) -> np.ndarray:
    return RANDOM.standard_normal(shape).astype(np.float32)


def _whole(*numbers: int) -> np.ndarray:
    return np.array(numbers, np.int64)


#: Operator of an input of shape (1, 4, 6), its further constant inputs, its attributes.
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
    ("Conv", [_values(8, 4, 3)], {"auto_pad": "SAME_LOWER", "strides": [2]}),
    ("Conv", [_values(8, 4, 4)], {"auto_pad": "SAME_UPPER", "strides": [2]}),
    ("BatchNormalization", [_values(4), _values(4), _values(4), _values(4) ** 2], {}),
    (
        "BatchNormalization",
        [_values(4), _values(4), _values(4), _values(4) ** 2],
        {"training_mode": 1, "_outputs": 3},
    ),
    ("GroupNormalization", [_values(2), _values(2)], {"num_groups": 2}),
    ("LpNormalization", [], {"axis": 1, "p": 1}),
    ("GlobalAveragePool", [], {}),
    ("AveragePool", [], {"kernel_shape": [3], "strides": [2], "pads": [1, 0], "ceil_mode": 1}),
    ("AveragePool", [], {"kernel_shape": [2], "pads": [1, 1], "count_include_pad": 1}),
    ("MaxPool", [], {"kernel_shape": [3], "strides": [2], "pads": [1, 1], "dilations": [2]}),
    ("Erf", [], {}),
    ("Elu", [], {"alpha": 0.5}),
    ("LeakyRelu", [], {}),
    ("HardSigmoid", [], {}),
    ("HardSwish", [], {}),
    ("Mish", [], {}),
    ("Selu", [], {}),
    ("Celu", [], {"alpha": 2.0}),
    ("PRelu", [_values(4, 1)], {}),
    ("Softplus", [], {}),
    ("LogSoftmax", [], {"axis": 1}),
    ("Mod", [_values(6)], {"fmod": 1}),
    ("Pow", [_values(6).round()], {}),
    ("Max", [_values(6), _values(4, 1)], {}),
    ("Mean", [_values(6), _values(4, 1)], {}),
    ("Floor", [], {}),
    ("Round", [], {}),
    ("CumSum", [np.array(-1, np.int64)], {"exclusive": 1, "reverse": 1}),
    ("ReduceMax", [_whole(-2)], {"keepdims": 0}),
    ("ReduceL2", [_whole(1)], {}),
    ("ReduceLogSumExp", [_whole(2)], {}),
    ("ReduceSumSquare", [_whole(0, 2)], {"keepdims": 0}),
    ("ReduceSum", [_whole()], {"noop_with_empty_axes": 1}),
    ("Clip", [np.array(-0.5, np.float32), None], {}),
    ("Clip", [], {}),
    ("Pad", [_whole(0, 0, 2, 0, 0, 3)], {"mode": "wrap"}),
    ("Pad", [_whole(0, -1, -2, 0, 2, 1)], {"mode": "edge"}),
    ("Flatten", [], {"axis": -1}),
    ("Trilu", [np.array(-1, np.int64)], {"upper": 0}),
    ("GatherElements", [_whole(*range(-4, 4)).reshape(1, 4, 2) % 6 - 6], {"axis": 2}),
    ("GatherND", [_whole(0, -1, 0, 2).reshape(2, 2)], {}),
    (
        "ScatterElements",
        [_whole(-1, 0).reshape(1, 1, 2), _values(1, 1, 2)],
        {"axis": 2, "reduction": "add"},
    ),
    ("ScatterND", [_whole(0, -1, 0, 2).reshape(2, 2), _values(2, 6)], {}),
    ("TopK", [_whole(3)], {"axis": 1, "largest": 0}),
    ("Einsum", [_values(6, 3)], {"equation": "b c t, t f -> f b c"}),
]
#: Attributes of Resize: its mode, its coordinates, and its rounding or weights.
RESIZES: list[dict[str, Any]] = [
    {"mode": "nearest", "nearest_mode": "floor", "coordinate_transformation_mode": "asymmetric"},
    {"mode": "nearest", "nearest_mode": "round_prefer_ceil"},
    {"mode": "nearest", "nearest_mode": "ceil", "coordinate_transformation_mode": "align_corners"},
    {"mode": "linear"},
    {"mode": "linear", "coordinate_transformation_mode": "align_corners"},
    {"mode": "linear", "coordinate_transformation_mode": "pytorch_half_pixel"},
    {"mode": "linear", "coordinate_transformation_mode": "half_pixel_symmetric"},
    {"mode": "linear", "antialias": 1},
    {"mode": "cubic", "cubic_coeff_a": -0.5},
    {"mode": "cubic", "exclude_outside": 1},
    {"mode": "cubic", "antialias": 1},
]


def _model(operator: str, constants: list[np.ndarray | None], attributes: dict[str, Any]) -> Any:
    names = [f"c{i}" if array is not None else "" for i, array in enumerate(constants)]
    standard = {"Split": attributes.get("num_outputs", 2), "TopK": 2}.get(operator, 1)
    count = attributes.get("_outputs", standard)
    attributes = {name: value for name, value in attributes.items() if name != "_outputs"}
    outputs = [f"y{i}" for i in range(count)]
    node = helper.make_node(operator, ["x", *names], outputs, name="one", **attributes)
    graph = helper.make_graph(
        [node],
        "test",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 4, 6])],
        # TopK's indices are no floats.
        [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, None)
            for name in outputs[: 1 if operator == "TopK" else None]
        ],
        [
            numpy_helper.from_array(array, name)
            for name, array in zip(names, constants, strict=True)
            if array is not None
        ],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


def _reference(model: onnx.ModelProto, given: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Run a graph in ONNX Runtime without optimisation, node by node."""
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
    """Each operator agrees with ONNX Runtime to over 100 dB, with unusual attributes too."""
    model = _model(operator, constants, attributes)
    given = {"x": _values(1, 4, 6)}
    expected, actual = _reference(model, given), _run(Network(model), given)
    for name, array in expected.items():
        assert snr_db(array, actual[name]) > 100


@pytest.mark.parametrize("sizes", [{"scales": [1.7, 0.6]}, {"sizes": [7, 4]}, {"sizes": [3, 9]}])
@pytest.mark.parametrize("attributes", RESIZES, ids=str)
def test_resize_computes_what_onnx_runtime_computes(
    attributes: dict[str, Any], sizes: dict[str, Any]
) -> None:
    """Resize agrees with ONNX Runtime in every mode, also with one axis up and one down."""
    scales = np.array([1, 1, *sizes["scales"]], np.float32) if "scales" in sizes else None
    lengths = _whole(1, 2, *sizes["sizes"]) if "sizes" in sizes else None
    model = _model("Resize", [None, scales, lengths], attributes)
    shape = [1, 2, 5, 6]
    model.graph.input[0].CopyFrom(helper.make_tensor_value_info("x", TensorProto.FLOAT, shape))
    given = {"x": _values(*shape)}
    assert snr_db(_reference(model, given)["y0"], _run(Network(model), given)["y0"]) > 100


@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
@pytest.mark.parametrize(
    ("operator", "gates", "attributes"),
    [("LSTM", 4, {}), ("GRU", 3, {}), ("GRU", 3, {"linear_before_reset": 1}), ("RNN", 1, {})],
)
def test_a_recurrent_layer_computes_what_onnx_runtime_computes(
    operator: str, gates: int, attributes: dict[str, Any], direction: str
) -> None:
    """Recurrent layers agree with ONNX Runtime in both directions and have gradients."""
    size, ways = 3, 2 if direction == "bidirectional" else 1
    constants = [
        _values(ways, gates * size, 6),
        _values(ways, gates * size, size),
        _values(ways, 2 * gates * size),
        None,
        _values(ways, 4, size),
    ]
    names = {"hidden_size": size, "direction": direction, **attributes}
    model = _model(operator, constants, names)
    model.graph.input[0].CopyFrom(helper.make_tensor_value_info("x", TensorProto.FLOAT, [5, 4, 6]))
    given = {"x": _values(5, 4, 6)}
    expected, actual = _reference(model, given), _run(Network(model), given)
    assert snr_db(expected["y0"], actual["y0"]) > 100
    window = torch.from_numpy(given["x"]).requires_grad_()
    Network(model).run({"x": window})["y0"].square().sum().backward()
    assert window.grad is not None
    assert bool((window.grad != 0).all())


def test_gemm_transposes_and_scales() -> None:
    """Gemm agrees with ONNX Runtime with alpha, beta and both transpositions."""
    constants = [_values(5, 4), _values(5)]
    attributes = {"alpha": 0.5, "beta": 2.0, "transA": 1, "transB": 1}
    model = _model("Gemm", constants, attributes)
    model.graph.input[0].CopyFrom(helper.make_tensor_value_info("x", TensorProto.FLOAT, [4, 6]))
    given = {"x": _values(4, 6)}
    assert snr_db(_reference(model, given)["y0"], _run(Network(model), given)["y0"]) > 100


def test_an_operator_that_is_not_known_is_named() -> None:
    """An unknown operator is refused with its node and another quantizer to use."""
    with pytest.raises(StageError, match="`Hardmax` has no gradient here") as caught:
        Network(_model("Hardmax", [], {}))
    assert caught.value.lines[0] == "node: one"
    assert "quantizer=qdq" in caught.value.lines[-1]


def test_a_form_that_is_not_known_is_named() -> None:
    """An unknown form of a known operator is refused with its node, without PyTorch's own error."""
    model = _model("AveragePool", [], {"kernel_shape": [2], "dilations": [2]})
    with pytest.raises(StageError, match="in this form: it averages values that lie apart") as told:
        _run(Network(model), {"x": _values(1, 4, 6)})
    assert told.value.lines[0] == "node: one"
    crooked = _model("Reshape", [_whole(5, 5)], {})
    with pytest.raises(StageError, match="`Reshape` has no gradient here in this form"):
        _run(Network(crooked), {"x": _values(1, 4, 6)})


def _chain(*operators: str) -> onnx.ModelProto:
    """Return a graph of operators of one input, in a row."""
    nodes = [
        helper.make_node(operator, [f"t{index}"], [f"t{index + 1}"], name=f"node{index}")
        for index, operator in enumerate(operators)
    ]
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 4, 6])
        for name in ("t0", f"t{len(operators)}")
    ]
    graph = helper.make_graph(nodes, "chain", ends[:1], ends[1:])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


def test_a_graph_that_is_read_otherwise_is_refused_by_its_first_node(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A graph that PyTorch computes differently is refused by the first node that differs.

    Causes are a missed attribute or another version of an operator.
    """
    model, given = _chain("Tanh", "Sigmoid", "Erf"), {"t0": _values(1, 4, 6)}
    check_agreement(Network(model), model, given, tmp_path)
    monkeypatch.setitem(OPERATORS, "Sigmoid", lambda _, inputs: (torch.relu(inputs[0]),))
    with pytest.raises(StageError, match="`Sigmoid` computes other values here") as caught:
        check_agreement(Network(model), model, given, tmp_path)
    assert caught.value.lines[0] == "node: node1"


def test_infinities_agree_with_infinities_alone(tmp_path: Path) -> None:
    """An infinity agrees with an infinity of the same sign only."""
    model, given = _chain("Log", "Neg"), {"t0": np.zeros((1, 4, 6), np.float32)}
    check_agreement(Network(model), model, given, tmp_path)
    other = _chain("Log", "Abs")
    other.graph.node[1].op_type = "Identity"
    with pytest.raises(StageError, match="`Neg` computes other values"):
        check_agreement(Network(other), model, given, tmp_path)


def _masked(fill: float) -> onnx.ModelProto:
    """Return attention over itself, whose scores a constant mask fills: `t0` (1, 4, 6).

    If the fill value is infinite or the FP32 minimum, the scores are an output, too.
    """
    nodes = [
        helper.make_node("MatMul", ["t0", "w"], ["q"], name="query"),
        helper.make_node("Transpose", ["t0"], ["k"], perm=[0, 2, 1], name="key"),
        helper.make_node("MatMul", ["q", "k"], ["s"], name="scores"),
        helper.make_node("Where", ["mask", "fill", "s"], ["m"], name="where"),
        helper.make_node("Softmax", ["m"], ["p"], axis=-1, name="softmax"),
        helper.make_node("MatMul", ["p", "t0"], ["y"], name="values"),
    ]
    names = ("y",) if abs(fill) < 1e30 else ("y", "m")
    graph = helper.make_graph(
        nodes,
        "attention",
        [helper.make_tensor_value_info("t0", TensorProto.FLOAT, [1, 4, 6])],
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, None) for n in names],
        [
            numpy_helper.from_array(_values(6, 6), "w"),
            numpy_helper.from_array(np.triu(np.ones((4, 4), bool), 1), "mask"),
            numpy_helper.from_array(np.array(fill, np.float32), "fill"),
        ],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


@pytest.mark.parametrize("fill", [-np.inf, np.finfo(np.float32).min, -1e9])
def test_gradients_are_finite_behind_a_mask(fill: float, tmp_path: Path) -> None:
    """Gradients are finite behind a mask, even if the masked scores are an output."""
    model, windows = _masked(fill), [{"t0": _values(1, 4, 6)} for _ in range(2)]
    network = Network(model)
    check_agreement(network, model, windows[0], tmp_path)
    lessons = Lessons(Network(model), Calibration(2, lambda: windows), tmp_path, silent())
    weight = network._constants["w"].requires_grad_()
    network._constants["w"] = weight * 1.01
    lessons.error(network, 0).mean().backward()  # type: ignore[no-untyped-call]
    assert weight.grad is not None
    assert bool(weight.grad.isfinite().all())
    assert bool((weight.grad != 0).any())
    assert 20 < lessons.snr_db(network) < 150


@pytest.mark.parametrize("size", [1e-15, 1.0, 1e15])
def test_errors_are_relative_at_any_size(size: float, tmp_path: Path) -> None:
    """An error of a hundredth is 40 dB at any size.

    A channel that is silent in all windows adds almost no error.
    """
    gain = np.ones((1, 4, 1), np.float32)
    gain[0, 2] = 0
    model = _model("Mul", [gain], {})
    windows = [{"x": _values(1, 4, 6) * np.float32(size)} for _ in range(2)]
    lessons = Lessons(Network(model), Calibration(2, lambda: windows), tmp_path, silent())
    network = Network(model)
    network._constants["c0"] = network._constants["c0"] * 1.01
    assert lessons.snr_db(network) == pytest.approx(40, abs=0.5)
    network._constants["c0"] = network._constants["c0"] + 1e-3
    assert 25 < lessons.snr_db(network) < 40
    assert lessons.error(network, 0)[2] < 1e-4


def test_an_output_whose_size_depends_on_values_is_refused(tmp_path: Path) -> None:
    """An output whose size depends on values is refused, because rounding changes the size."""
    nodes = [
        helper.make_node("Mul", ["x", "gain"], ["h"], name="mul"),
        helper.make_node("NonZero", ["h"], ["places"], name="places"),
        helper.make_node("Cast", ["places"], ["y"], to=TensorProto.FLOAT, name="cast"),
    ]
    ends = [helper.make_tensor_value_info(n, TensorProto.FLOAT, None) for n in ("x", "y")]
    gain = numpy_helper.from_array(_values(6), "gain")
    graph = helper.make_graph(nodes, "sizes", ends[:1], ends[1:], [gain])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    one = Calibration(1, lambda: [{"x": _values(1, 4, 6)[..., ::-1]}])
    lessons, network = Lessons(Network(model), one, tmp_path, silent()), Network(model)
    network._constants["gain"] = network._constants["gain"].round()
    with pytest.raises(StageError, match="the size of output `y` depends on values"):
        lessons.error(network, 0)


def test_a_graph_with_nothing_to_learn_from_is_refused(tmp_path: Path) -> None:
    """A graph whose outputs are whole numbers or zeros is refused."""
    for model, said in (
        (_model("ArgMax", [], {"axis": 1}), "gives no floats"),
        (_model("Mul", [np.zeros(1, np.float32)], {}), "gives nothing but zeros"),
    ):
        one = Calibration(1, lambda: [{"x": _values(1, 4, 6)}])
        with pytest.raises(StageError, match=said):
            Lessons(Network(model), one, tmp_path, silent())


@pytest.fixture(scope="module", params=["separator", "hybrid"])
def given(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    """Return a small network, exported in float."""
    model = {"separator": separator, "hybrid": hybrid}[request.param]()
    return exported(model, tmp_path_factory.mktemp(request.param) / "export")


def _feeds(artifact: Artifact, seed: int) -> dict[str, np.ndarray]:
    return feeds(hybrid() if len(artifact.info.core_inputs) > 1 else separator(), seed)


def _static(artifact: Artifact, folder: Path, **options: Any) -> onnx.ModelProto:
    """Return the graph with the initial ranges of the training."""
    quantizer = Qat(Qat.Options(steps=0, windows=3, method=Method.minmax, **options))
    windows = Calibration(3, lambda: (_feeds(artifact, seed) for seed in range(3)))
    return onnx.load(str(quantizer.run(artifact, windows, work_in(folder)).path))


def test_a_float_graph_gives_the_same(given: Artifact) -> None:
    """A float graph agrees with ONNX Runtime by over 90 dB on every output."""
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
    """A quantised graph agrees with ONNX Runtime by over 50 dB: the integers are the same."""
    model, window = _static(given, tmp_path / "work", **options), _feeds(given, 9)
    expected, actual = _reference(model, window), _run(Network(model), window)
    for name, array in expected.items():
        assert snr_db(array, actual[name]) > 50


def test_nothing_learned_is_written_as_it_was(given: Artifact, tmp_path: Path) -> None:
    """Without training, integers, scales and zero points are written back unchanged, within 1e-6.

    A bias of zeros is an exception: its scale has no meaning before training.
    """
    model = _static(given, tmp_path / "work")
    before = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    of_zeros = {
        node.input[1]
        for node in model.graph.node
        if node.op_type == "DequantizeLinear" and not before.get(node.input[0], np.ones(1)).any()
    }
    after = written(Network(model), model)
    for tensor in after.graph.initializer:
        array = numpy_helper.to_array(tensor)
        assert array.dtype == before[tensor.name].dtype
        if tensor.name not in of_zeros:
            np.testing.assert_allclose(array, before[tensor.name], rtol=1e-6)


@pytest.mark.parametrize("shape", [(), (4, 1, 1)], ids=["whole", "per channel"])
def test_the_gradient_passes_through_what_is_in_the_range(shape: tuple[int, ...]) -> None:
    """Values in the range get a gradient; clipped values get none and move the range instead."""
    x = torch.from_numpy(_values(4, 5, 6)).requires_grad_()
    scale = torch.full(shape, 0.011, requires_grad=True)
    zero = torch.full(shape, 100.0)
    result = rounded(x, scale, zero, 0, 255)
    expected = (x / 0.011).round().clamp(-100, 155) * 0.011
    torch.testing.assert_close(result, expected)
    result.sum().backward()
    assert x.grad is not None
    assert scale.grad is not None
    whole = (x / 0.011).round()
    inside = (whole >= -100) & (whole <= 155)
    torch.testing.assert_close(x.grad, inside.float())
    assert 0 < inside.sum() < inside.numel()
    assert scale.grad.shape == shape
    assert (scale.grad != 0).all()
