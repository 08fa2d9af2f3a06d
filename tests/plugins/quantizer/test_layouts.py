"""`qdq` places conversions and chooses types by the layout of each runtime."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, numpy_helper

from core import Artifact, ArtifactSpec, Calibration
from core.measure.metrics import snr_db
from plugins.quantizer.qdq import Activation, Layout, Method, Qdq, Weight
from tests.plugins.networks import artifact, exported, feeds, hybrid, outputs, played, work_in

TENSORRT = {"layout": Layout.tensorrt, "activation": Activation.int8, "symmetric": True}
W4A16 = {"weight": Weight.int4, "activation": Activation.uint16}


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    """Export a network with a convolution of each rank and products with and without weights."""
    return exported(hybrid(), tmp_path_factory.mktemp("export") / "made")


def _quantised(source: Artifact, folder: Path, **options: object) -> Artifact:
    model = hybrid()
    stream = Calibration(16, lambda: (feeds(model, seed) for seed in range(16)))
    made = Qdq(Qdq.Options(windows=16, **options)).run(source, stream, work_in(folder / "made"))
    return artifact(made, model.info)


def _quantised_inputs(graph: onnx.GraphProto) -> Counter[str]:
    """Count by operator the nodes with an input that was dequantised."""
    read = {n.output[0] for n in graph.node if n.op_type == "DequantizeLinear"}
    others = [n for n in graph.node if n.op_type not in ("QuantizeLinear", "DequantizeLinear")]
    return Counter(n.op_type for n in others if read.intersection(n.input))


def _worst(made: Artifact) -> float:
    given = feeds(hybrid(), seed=99)
    expected, actual = outputs(hybrid(), given), played(made, given)
    return min(snr_db(expected[name], actual[name]) for name in expected)


@pytest.mark.parametrize(
    ("options", "expected"),
    [({"layout": Layout.cpu}, {"MatMul": 3}), (TENSORRT, {"MatMul": 3, "Conv": 2})],
    ids=["cpu", "tensorrt"],
)
def test_only_products_are_quantised_for_a_cpu_and_for_tensorrt(
    options: dict[str, object], expected: dict[str, int], source: Artifact, tmp_path: Path
) -> None:
    """The layouts `cpu` and `tensorrt` quantise products (TensorRT also convolutions) only.

    Softmax and Tanh stay in float and are counted as such.
    """
    made = _quantised(source, tmp_path, **options)
    found = _quantised_inputs(onnx.load(made.path).graph)
    del found["Transpose"]  # it reads a product's operand too
    assert found == expected
    assert made.facts["quantised_nodes"] == sum(expected.values())
    assert made.facts["float_nodes"] > 0
    assert _worst(made) > 25


def test_tensorrt_gets_signed_types_zero_points_of_0_and_float_biases(
    source: Artifact, tmp_path: Path
) -> None:
    """TensorRT gets signed types, zero points of 0 and float biases, as it requires."""
    graph = onnx.load(_quantised(source, tmp_path, per_channel=True, **TENSORRT).path).graph
    constants = {tensor.name: tensor for tensor in graph.initializer}
    read = [constants[node.input[2]] for node in graph.node if node.op_type.endswith("izeLinear")]
    assert {tensor.data_type for tensor in read} == {TensorProto.INT8}
    assert not any(numpy_helper.to_array(tensor).any() for tensor in read)
    biases = [constants[node.input[2]] for node in graph.node if node.op_type == "Conv"]
    assert {tensor.data_type for tensor in biases} == {TensorProto.FLOAT}
    scales = [constants[n.input[1]] for n in graph.node if n.op_type == "DequantizeLinear"]
    assert any(list(tensor.dims) == [8] for tensor in scales)


def test_symmetric_ranges_for_qnn_have_their_zero_in_the_middle(
    source: Artifact, tmp_path: Path
) -> None:
    """A symmetric range in an unsigned type has its zero in the middle of the type."""
    made = _quantised(source, tmp_path, symmetric=True, method=Method.mse)
    constants = {t.name: numpy_helper.to_array(t) for t in onnx.load(made.path).graph.initializer}
    assert constants["mix_zero_point"] in (127, 128)
    assert _worst(made) > 20


def test_weights_of_4_bits(source: Artifact, tmp_path: Path) -> None:
    """Plan and file have the precision `w4a16`, and the facts count the 4-bit weights."""
    made = _quantised(source, tmp_path, per_channel=True, **W4A16)
    planned = Qdq(Qdq.Options(**W4A16)).plan(ArtifactSpec("onnx"))
    assert made.spec == planned == ArtifactSpec("onnx", "w4a16")
    stored = Counter(t.data_type for t in onnx.load(made.path).graph.initializer)
    assert made.facts["weights_4_bit"] == stored[TensorProto.INT4] - _zero_points(made) > 0
    assert 8 < _worst(made) < 40


def _zero_points(made: Artifact) -> int:
    """Count the zero points of 4 bits."""
    return sum(
        tensor.data_type == TensorProto.INT4 and "zero_point" in tensor.name
        for tensor in onnx.load(made.path).graph.initializer
    )


def test_every_reader_of_4_bit_weights_has_its_own(source: Artifact, tmp_path: Path) -> None:
    """Each DequantizeLinear of 4-bit weights has one reader."""
    graph = onnx.load(_quantised(source, tmp_path, **W4A16).path).graph
    weights = {tensor.name for tensor in graph.initializer if tensor.dims}
    made = [n.output[0] for n in graph.node if n.input and n.input[0] in weights]
    readers = Counter(name for node in graph.node for name in node.input)
    assert made
    assert all(readers[name] == 1 for name in made)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"weight": Weight.int4}, "`weight` int4 needs `activation` uint16"),
        ({"layout": Layout.cpu, "edges": 4}, "`layout` cpu has no activations of 16 bits"),
        ({"layout": Layout.tensorrt}, "`layout` tensorrt takes `activation` int8"),
        ({**TENSORRT, "symmetric": False}, "`layout` tensorrt takes `activation` int8"),
    ],
    ids=str,
)
def test_types_that_a_runtime_has_not_are_refused(options: dict[str, object], message: str) -> None:
    """Types that a layout's runtime lacks are refused by the names of the options."""
    with pytest.raises(ValueError, match=message):
        Qdq.Options(**options)
