"""What a graph computes at which precision, counted from the file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from core.formats.precision_census import census, facts_of, macs_by_node, share

IN, OUT, SIZE, KERNEL = 3, 8, 16, 3
MACS = OUT * SIZE * SIZE * IN * KERNEL * KERNEL


def written(path: Path, nodes: list, tensors: dict, elem: int = TensorProto.FLOAT) -> Path:
    """Write a graph from `x` (1, 3, 16, 16) to `y` (1, 8, 16, 16)."""
    graph = helper.make_graph(
        nodes,
        "counted",
        [helper.make_tensor_value_info("x", elem, (1, IN, SIZE, SIZE))],
        [helper.make_tensor_value_info("y", elem, (1, OUT, SIZE, SIZE))],
        [numpy_helper.from_array(array, name) for name, array in tensors.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)])
    onnx.save(model, path)
    return path


def conv(given: str, weight: str, gives: str) -> onnx.NodeProto:
    """Return a convolution that keeps the size."""
    return helper.make_node("Conv", [given, weight], [gives], name="conv", pads=[1, 1, 1, 1])


def quantised(path: Path, activation: type, weight: type) -> Path:
    """Write Q, DQ, convolution, Q, DQ."""
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "za"], ["xq"]),
        helper.make_node("DequantizeLinear", ["xq", "s", "za"], ["xd"]),
        helper.make_node("DequantizeLinear", ["w", "s", "zw"], ["wd"]),
        conv("xd", "wd", "h"),
        helper.make_node("QuantizeLinear", ["h", "s", "za"], ["hq"]),
        helper.make_node("DequantizeLinear", ["hq", "s", "za"], ["y"]),
    ]
    tensors = {
        "s": np.float32(0.1),
        "za": activation(0),
        "zw": weight(0),
        "w": np.ones((OUT, IN, KERNEL, KERNEL), weight),
    }
    return written(path, nodes, {name: np.asarray(array) for name, array in tensors.items()})


def test_a_float_graph_counts_as_float(tmp_path: Path) -> None:
    """One float convolution counts its multiply-accumulates, and every tensor at four bytes."""
    weight = np.ones((OUT, IN, KERNEL, KERNEL), np.float32)
    counted = census(written(tmp_path / "m.onnx", [conv("x", "w", "y")], {"w": weight}))
    assert counted.macs == {"fp32": MACS}
    assert counted.nodes == {"fp32": 1}
    assert counted.moved_bytes == 4 * (weight.size + (IN + OUT) * SIZE * SIZE)


def test_half_precision_is_seen_by_its_type(tmp_path: Path) -> None:
    """The precision of a node is the type that it returns."""
    weight = np.ones((OUT, IN, KERNEL, KERNEL), np.float16)
    file = written(tmp_path / "m.onnx", [conv("x", "w", "y")], {"w": weight}, TensorProto.FLOAT16)
    counted = census(file)
    assert counted.macs == {"fp16": MACS}
    assert counted.moved_bytes == 2 * (weight.size + (IN + OUT) * SIZE * SIZE)


@pytest.mark.parametrize(
    ("activation", "weight", "name", "width"),
    [(np.uint8, np.int8, "w8a8", 1), (np.uint16, np.int8, "w8a16", 2)],
)
def test_integers_are_seen_by_what_surrounds_a_node(
    tmp_path: Path, activation: type, weight: type, name: str, width: int
) -> None:
    """A node that is quantised on both sides has the widths of its weights and activations."""
    counted = census(quantised(tmp_path / "m.onnx", activation, weight))
    assert counted.macs == {name: MACS}
    assert counted.nodes == {name: 1}
    weights = OUT * IN * KERNEL * KERNEL
    assert counted.moved_bytes == weights + width * (IN + OUT) * SIZE * SIZE


def test_quantised_weights_alone_make_no_integer_node(tmp_path: Path) -> None:
    """Where only the weights are integers, the runtime multiplies in float."""
    nodes = [helper.make_node("DequantizeLinear", ["w", "s", "z"], ["wd"]), conv("x", "wd", "y")]
    tensors = {
        "s": np.asarray(np.float32(0.1)),
        "z": np.asarray(np.int8(0)),
        "w": np.ones((OUT, IN, KERNEL, KERNEL), np.int8),
    }
    counted = census(written(tmp_path / "m.onnx", nodes, tensors))
    assert counted.macs == {"fp32": MACS}


def test_facts_tell_the_share(tmp_path: Path) -> None:
    """Facts count by precision, and the counts give a share."""
    counted = census(quantised(tmp_path / "m.onnx", np.uint8, np.int8))
    assert facts_of(counted)["macs_by_precision"] == {"w8a8": MACS}
    assert share(counted.macs, ["w8a8"]) == 1
    assert share(counted.macs, ["fp32"]) == 0
    assert share({"w8a8": 3, "fp32": 1}, ["w8a8"]) == 0.75
    assert share({}, ["w8a8"]) == 0


def test_every_node_that_multiplies_has_its_own_count() -> None:
    """Multiplying nodes are counted by name; unknown lengths count as 1, also inside products."""
    values = {"x": (1, "time", "bins"), "h": (1, "time", 8), "y": (1, "time", 8)}
    infos = {n: helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in values.items()}
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["h"], "product"),
        helper.make_node("Relu", ["h"], ["y"], "relu"),
    ]
    weight = numpy_helper.from_array(np.ones((5, 8), np.float32), "w")
    graph = helper.make_graph(
        nodes, "counted", [infos["x"]], [infos["y"]], [weight], value_info=[infos["h"]]
    )
    assert macs_by_node(helper.make_model(graph)) == {"product": 8}
