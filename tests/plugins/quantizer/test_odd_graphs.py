"""Graphs of unusual forms end near the float graph.

They have control flow, shared tensors, and inputs or constants as outputs.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from core import StageError
from plugins.quantizer.fp16 import Fp16
from plugins.quantizer.qdq import Activation, Layout, Method, Qdq
from tests.plugins.graphs import graph, lowered, windows, worst_db

RANDOM = np.random.default_rng(0)
SHAPE = [1, 8, 32]
KERNEL = RANDOM.standard_normal((8, 8, 3)) / 5
MATRIX = RANDOM.standard_normal((16, 16)) / 4
QUANTIZERS = {
    "8 bits": Qdq(Qdq.Options(method=Method.minmax, per_channel=True)),
    "16 bits": Qdq(Qdq.Options(activation=Activation.uint16, method=Method.minmax)),
    "products": Qdq(Qdq.Options(layout=Layout.cpu, method=Method.minmax, per_channel=True)),
    "FP16": Fp16(Fp16.Options()),
}
ALL = pytest.mark.parametrize("quantizer", QUANTIZERS.values(), ids=QUANTIZERS)


def _node(operator: str, inputs: str, outputs: str, **attributes: object) -> onnx.NodeProto:
    made = outputs.split()
    return helper.make_node(operator, inputs.split(), made, name=f"{made[0]}/node", **attributes)


def _noise(shape: list[int] = SHAPE) -> Callable[[np.random.Generator], dict[str, np.ndarray]]:
    return lambda r: {"x": r.uniform(-1, 1, shape)}


def _body(operator: str, inputs: str, **attributes: object) -> onnx.GraphProto:
    made = helper.make_tensor_value_info("inner", TensorProto.FLOAT, None)
    return helper.make_graph([_node(operator, inputs, "inner", **attributes)], "body", [], [made])


def _conditional() -> onnx.ModelProto:
    """Return a graph whose If reads a Relu's input and weights that other nodes read too."""
    return graph(
        [
            _node("Conv", "x w", "h", pads=[1, 1]),
            _node("Relu", "h", "r"),
            _node("ReduceMean", "r", "m", keepdims=0),
            _node("Greater", "m much", "loud"),
            _node(
                "If",
                "loud",
                "chosen",
                then_branch=_body("Conv", "h w", pads=[1, 1]),
                else_branch=_body("Neg", "h"),
            ),
            _node("Add", "r chosen", "y"),
        ],
        {"x": SHAPE},
        {"y": SHAPE},
        {"w": KERNEL, "much": np.float32(0.17)},
    )


def _seen_before_a_relu() -> onnx.ModelProto:
    """Return a graph whose outputs are the input and the output of a Relu, and a later tensor."""
    nodes = [
        _node("Conv", "x w", "h", pads=[1, 1]),
        _node("Relu", "h", "r"),
        _node("Conv", "r w", "y", pads=[1, 1]),
    ]
    return graph(nodes, {"x": SHAPE}, {"h": SHAPE, "y": SHAPE, "r": SHAPE}, {"w": KERNEL})


def _passed() -> onnx.ModelProto:
    """Return a graph whose outputs include its input and its weights."""
    nodes = [_node("Conv", "x w", "y", pads=[1, 1])]
    return graph(nodes, {"x": SHAPE}, {"x": SHAPE, "w": [8, 8, 3], "y": SHAPE}, {"w": KERNEL})


def _weights_of_a_network() -> onnx.ModelProto:
    """Return a convolution whose weights and bias are computed from the input."""
    nodes = [
        _node("ReduceMax", "x", "gain", keepdims=0),
        _node("Mul", "w gain", "weights"),
        _node("Mul", "b gain", "bias"),
        _node("Conv", "x weights bias", "y", pads=[1, 1]),
    ]
    constants = {"w": KERNEL, "b": RANDOM.standard_normal(8)}
    return graph(nodes, {"x": SHAPE}, {"y": SHAPE}, constants)


def _in_half_and_double() -> onnx.ModelProto:
    """Return a graph with parts in FP16 and FP64, which have no range here."""
    nodes = [
        _node("Conv", "x w", "h", pads=[1, 1]),
        _node("Cast", "h", "d", to=TensorProto.DOUBLE),
        _node("Mul", "d two", "e"),
        _node("Cast", "e", "f", to=TensorProto.FLOAT16),
        _node("Neg", "f", "g"),
        _node("Cast", "g", "n", to=TensorProto.FLOAT),
        _node("Conv", "n w", "y", pads=[1, 1]),
    ]
    model = graph([], {"x": SHAPE}, {"x": SHAPE}, {"w": KERNEL})
    model.graph.initializer.append(helper.make_tensor("two", TensorProto.DOUBLE, [], [2.0]))
    model.graph.node.extend(nodes)
    model.graph.output[0].name = "y"
    del model.graph.value_info[:]
    return onnx.shape_inference.infer_shapes(model)


def _counted() -> onnx.ModelProto:
    """Return a graph that adds a Range from 0 to a length; 16-bit arithmetic has no Range."""
    nodes = [
        _node("Shape", "x", "shape"),
        _node("Gather", "shape one", "length"),
        _node("Cast", "length", "end", to=TensorProto.FLOAT),
        _node("Range", "zero end step", "places"),
        _node("Add", "x places", "h"),
        _node("MatMul", "h w", "y"),
    ]
    constants = {"one": np.array(1), "zero": np.float32(0), "step": np.float32(1), "w": MATRIX}
    return graph(nodes, {"x": ["rows", 16]}, {"y": ["rows", 16]}, constants)


def _products_of_every_rank() -> onnx.ModelProto:
    """Return products with constants on the left, in three dimensions, and in one."""
    nodes = [
        _node("MatMul", "a x", "h"),
        _node("MatMul", "b h", "g"),
        _node("MatMul", "g v", "y"),
    ]
    constants = {"a": MATRIX, "b": RANDOM.standard_normal((2, 16, 16)) / 4, "v": MATRIX[0] * 4}
    return graph(nodes, {"x": [16, 16]}, {"y": [2, 16]}, constants)


def _scattered() -> onnx.ModelProto:
    """Return a graph that sums scattered values in shared places, behind a convolution."""
    nodes = [
        _node("Conv", "x w", "h", pads=[1, 1]),
        _node("ScatterElements", "h places updates", "y", axis=2, reduction="add"),
    ]
    places = np.broadcast_to(np.arange(16) // 2, (1, 8, 16)).copy()
    constants = {"w": KERNEL, "places": places, "updates": RANDOM.uniform(-1, 1, (1, 8, 16))}
    return graph(nodes, {"x": SHAPE}, {"y": SHAPE}, constants)


def _in_parts() -> onnx.ModelProto:
    """Return a graph that cuts a signal into a sequence and takes one part of it."""
    nodes = [
        _node("Conv", "x w", "h", pads=[1, 1]),
        _node("SplitToSequence", "h sizes", "parts", axis=2),
        _node("SequenceAt", "parts second", "part"),
        _node("Conv", "part w", "y", pads=[1, 1]),
    ]
    constants = {"w": KERNEL, "sizes": np.array([16, 16]), "second": np.array(1)}
    return graph(nodes, {"x": SHAPE}, {"y": [1, 8, 16]}, constants)


def _as_initialised() -> onnx.ModelProto:
    """Return a batch norm whose bias is its mean, and whose gain is its variance."""
    nodes = [
        _node("Conv", "x w", "h", pads=[1, 1]),
        _node("BatchNormalization", "h v b b v", "n"),
        _node("Conv", "n w", "y", pads=[1, 1]),
    ]
    constants = {"w": KERNEL, "v": RANDOM.uniform(1, 2, 8), "b": RANDOM.uniform(-0.1, 0.1, 8)}
    return graph(nodes, {"x": SHAPE}, {"y": SHAPE}, constants)


GRAPHS = {
    "a norm as it is initialised": (_as_initialised(), _noise()),
    "scattered sums": (_scattered(), _noise()),
    "a sequence": (_in_parts(), _noise()),
    "an If that reads what others read": (_conditional(), _noise()),
    "an output before a Relu": (_seen_before_a_relu(), _noise()),
    "outputs that no node makes": (_passed(), _noise()),
    "computed weights": (_weights_of_a_network(), _noise()),
    "parts in half and double": (_in_half_and_double(), _noise()),
    "a Range": (_counted(), _noise([16, 16])),
    "products of every rank": (_products_of_every_rank(), _noise([16, 16])),
}


@ALL
@pytest.mark.parametrize("name", GRAPHS)
def test_odd_graphs_end_near_the_float_graph(
    name: str, quantizer: Qdq | Fp16, tmp_path: Path
) -> None:
    """Every quantizer ends near the float graph, or refuses a graph without products."""
    model, draw = GRAPHS[name]
    given = windows(draw, 16)
    operators = {node.op_type for node in model.graph.node}
    if quantizer is QUANTIZERS["products"] and not {"MatMul", "Gemm"} & operators:
        with pytest.raises(StageError, match="the graph has nothing to quantise") as caught:
            lowered(quantizer, model, given[:14], tmp_path)
        assert caught.value.lines[0] == f"operators: {', '.join(sorted(operators))}"
        return
    assert worst_db(model, lowered(quantizer, model, given[:14], tmp_path), given[14:]) > 25


def test_louder_and_silent_windows_leave_what_is_no_float(tmp_path: Path) -> None:
    """FP16's louder and silent copies of a window leave an integer input unchanged."""
    model = graph(
        [_node("Conv", "x w", "h", pads=[1, 1])], {"x": SHAPE}, {"h": SHAPE}, {"w": KERNEL}
    )
    model.graph.input.append(helper.make_tensor_value_info("shape", TensorProto.INT64, [1]))
    model.graph.node.append(_node("Reshape", "h shape", "y"))
    model.graph.output[0].CopyFrom(helper.make_tensor_value_info("y", TensorProto.FLOAT, [256]))
    given = [window | {"shape": np.array([256])} for window in windows(_noise(), 6)]
    made = lowered(QUANTIZERS["FP16"], model, given[:4], tmp_path)
    assert worst_db(model, made, given[4:]) > 60


def test_a_scalar_is_a_tensor_too(tmp_path: Path) -> None:
    """A graph whose input is one number can be quantised and converted to FP16."""
    nodes = [_node("Mul", "x two", "h"), _node("Sigmoid", "h", "y")]
    model = graph(nodes, {"x": []}, {"y": []}, {"two": np.float32(2)})
    given = windows(lambda r: {"x": np.array(r.uniform(-1, 1))}, 16)
    for name in ("8 bits", "FP16"):
        made = lowered(QUANTIZERS[name], model, given[:14], tmp_path / name)
        assert worst_db(model, made, given[14:]) > 25


@pytest.mark.parametrize("windows_given", [0, 4])
def test_places_stay_exact_in_fp16(windows_given: int, tmp_path: Path) -> None:
    """Computed indices stay exact with FP16, which has steps of 2 from 2,048 on."""
    nodes = [
        _node("Mul", "x rows", "places"),
        _node("Cast", "places", "indices", to=TensorProto.INT64),
        _node("Gather", "table indices", "y"),
    ]
    constants = {"rows": np.float32(4095), "table": RANDOM.standard_normal((4096, 2))}
    model = graph(nodes, {"x": [64]}, {"y": [64, 2]}, constants)
    given = windows(lambda r: {"x": r.random(64)}, 6)
    made = lowered(QUANTIZERS["FP16"], model, given[:windows_given], tmp_path)
    assert worst_db(model, made, given[4:]) > 60


def spectrum() -> onnx.ModelProto:
    """Return the logarithm of the magnitude of two convolutions."""
    nodes = [
        _node("Conv", "x w", "re"),
        _node("Conv", "x v", "im"),
        _node("Mul", "re re", "a"),
        _node("Mul", "im im", "b"),
        _node("Add", "a b", "square"),
        _node("Add", "square least", "sum"),
        _node("Sqrt", "sum", "root"),
        _node("Log", "root", "y"),
    ]
    constants = {"w": KERNEL, "v": KERNEL[::-1].copy(), "least": np.float32(1e-6)}
    return graph(nodes, {"x": SHAPE}, {"y": [1, 8, 30]}, constants)


def _fading(r: np.random.Generator) -> dict[str, np.ndarray]:
    """Return noise that becomes 40 dB weaker."""
    return {"x": r.uniform(-1, 1, SHAPE) * np.logspace(0, -2, SHAPE[2])}


@pytest.mark.parametrize("name", ["8 bits", "16 bits"])
def test_no_logarithm_of_what_was_rounded_to_zero(name: str, tmp_path: Path) -> None:
    """Nodes before a logarithm stay in float if rounding could make its input zero.

    A notice says so.
    """
    given = windows(_fading, 16)
    made = lowered(QUANTIZERS[name], spectrum(), given[:14], tmp_path)
    least = {"8 bits": 12, "16 bits": 38}[name]
    assert worst_db(spectrum(), made, given[14:]) > least
    assert any("lead to a logarithm" in notice.text for notice in made.notices)


def test_a_logarithm_of_what_keeps_its_size_is_quantised(tmp_path: Path) -> None:
    """A logarithm whose input stays many steps from zero is quantised."""
    model = spectrum()
    constant = next(t for t in model.graph.initializer if t.name == "least")
    constant.CopyFrom(numpy_helper.from_array(np.array(1.0, np.float32), "least"))
    given = windows(_noise(), 16)
    made = lowered(QUANTIZERS["16 bits"], model, given[:14], tmp_path)
    assert worst_db(model, made, given[14:]) > 38
    assert not any("stay in float" in notice.text for notice in made.notices)


def test_small_weights_stay_in_fp32_where_fp16_has_few_steps_for_them(tmp_path: Path) -> None:
    """Weights of 1e-6, which have 16 steps in FP16, stay in FP32 even for large inputs."""
    nodes = [_node("MatMul", "x w", "h"), _node("Add", "h b", "y")]
    constants = {"w": MATRIX * 1e-6, "b": MATRIX[0] * 1e-8}
    model = graph(nodes, {"x": [4, 16]}, {"y": [4, 16]}, constants)
    given = windows(lambda r: {"x": r.uniform(-1e4, 1e4, (4, 16))}, 6)
    for count in (0, 4):
        made = lowered(QUANTIZERS["FP16"], model, given[:count], tmp_path / str(count))
        assert worst_db(model, made, given[4:]) > 60
        kept = made.facts["kept_because"]
        assert isinstance(kept, list)
        assert [str(reason).partition(" ")[0] for reason in kept] == ["h/node"]
