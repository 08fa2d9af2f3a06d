"""Explicit quantisation that TensorRT does not take is refused with its node and the mend."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from core import ArtifactSpec, StageError
from core.errors import MisfitError
from core.formats.calibrated_ranges import write_seen
from plugins.quantizer.qat import Qat, QatOptions
from plugins.quantizer.qdq import Activation, Layout, Qdq, QdqOptions, Weight
from plugins.runtime._tensorrt.integers import check, quantised_readers
from plugins.runtime.tensorrt import Flavour, TensorRt, TensorRtOptions

PATH = Path("model.onnx")


def convolution(
    activation: Any = np.int8,
    weight: Any = np.int8,
    zeros: tuple[int, int] = (0, 0),
    scale: float = 0.02,
) -> onnx.ModelProto:
    """Return a convolution between conversions of these types, zero points and scale."""
    constants = {
        "s": np.asarray(scale, np.float32), "z": np.asarray(zeros[0], activation),
        "w": np.full((8, 3, 3, 3), 5, weight), "ws": np.full(8, 0.01, np.float32),
        "wz": np.full(8, zeros[1], weight),
    }  # fmt: skip
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["xq"], "quantise"),
        helper.make_node("DequantizeLinear", ["xq", "s", "z"], ["xd"], "restore"),
        helper.make_node("DequantizeLinear", ["w", "ws", "wz"], ["wd"], "weights", axis=0),
        helper.make_node("Conv", ["xd", "wd"], ["y"], "conv"),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, (1, 3, 16, 16))],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, (1, 8, 14, 14))],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)


def test_signed_integers_around_zero_pass() -> None:
    """int8 with zero points of 0 and scales above 0 is what TensorRT takes."""
    check(convolution(), PATH)


@pytest.mark.parametrize(
    ("graph", "node", "why"),
    [
        (convolution(activation=np.uint8, zeros=(128, 0)), "quantise", "its type is uint8"),
        (convolution(activation=np.uint8), "quantise", "its type is uint8"),
        (convolution(activation=np.uint16), "quantise", "its type is uint16"),
        (convolution(zeros=(5, 0)), "quantise", "its zero point is not 0"),
        (convolution(weight=np.uint8), "weights", "its type is uint8"),
        (convolution(zeros=(0, 3)), "weights", "its zero point is not 0"),
    ],
    ids=["uint8", "uint8 at 0", "uint16", "zero point", "weights", "weights' zero point"],
)
def test_other_integers_are_refused_by_their_node(
    graph: onnx.ModelProto, node: str, why: str
) -> None:
    """The error names the first node, why, and the options of the quantizer that mend it."""
    with pytest.raises(StageError, match=f"`{node}`: {why}") as caught:
        check(graph, PATH)
    assert "precision=int8_symmetric" in str(caught.value)
    assert "quantizer.symmetric=true" in str(caught.value)


def test_a_zero_point_in_a_constant_node_is_seen() -> None:
    """Exporters also write constants as nodes."""
    graph = convolution(zeros=(5, 0))
    (zero,) = (t for t in graph.graph.initializer if t.name == "z")
    graph.graph.initializer.remove(zero)
    graph.graph.node.insert(0, helper.make_node("Constant", [], ["z"], value=zero))
    with pytest.raises(StageError, match="its zero point is not 0"):
        check(graph, PATH)


def test_a_missing_zero_point_means_uint8() -> None:
    """ONNX: QuantizeLinear without a zero point and a type gives uint8; with a type, that type."""
    graph = convolution()
    del graph.graph.node[0].input[2]
    with pytest.raises(StageError, match="`quantise`: its type is uint8"):
        check(graph, PATH)
    graph.graph.node[0].attribute.append(helper.make_attribute("output_dtype", TensorProto.INT8))
    check(graph, PATH)


@pytest.mark.parametrize("scale", [0.0, -1.0, np.inf, np.nan])
def test_a_scale_that_is_not_above_zero_is_refused(scale: float) -> None:
    """Such a scale comes from calibration data without a signal, and the error says so."""
    with pytest.raises(StageError, match="`quantise`: a scale is not above 0") as caught:
        check(convolution(scale=scale), PATH)
    assert "calibration=" in str(caught.value)


def test_a_graph_that_only_saw_silence_is_refused() -> None:
    """One range that is not zero is enough; so is a graph that does not say what was seen."""
    graph = convolution()
    write_seen(graph, {"x": (0.0, 0.0)})
    with pytest.raises(StageError, match="nothing but silence"):
        check(graph, PATH)
    del graph.metadata_props[:]
    write_seen(graph, {"x": (0.0, 0.5)})
    check(graph, PATH)


def test_products_of_dequantised_values_are_the_ones_to_fuse() -> None:
    """A product is listed with the conversion before it; one with a float input is not."""
    graph = convolution()
    assert list(quantised_readers(graph)) == [("conv", "Conv", "restore")]
    graph.graph.node[3].input[0] = "x"
    assert list(quantised_readers(graph)) == []


TENSORRT = {"layout": Layout.tensorrt, "activation": Activation.int8, "symmetric": True}


@pytest.mark.parametrize(
    ("quantizer", "refused"),
    [
        (Qdq(QdqOptions(**TENSORRT)), ""),  # type: ignore[arg-type]  # of several types
        (Qdq(QdqOptions()), "asymmetric activations and unsigned activations"),
        (Qdq(QdqOptions(activation=Activation.int8)), "asymmetric activations"),
        (Qdq(QdqOptions(**TENSORRT, weight=Weight.uint8)), "unsigned weights"),  # type: ignore[arg-type]
        (Qdq(QdqOptions(**TENSORRT, weight_symmetric=False)), "asymmetric weights"),  # type: ignore[arg-type]
        (Qat(QatOptions()), "asymmetric activations and unsigned activations"),
    ],
)
def test_the_plan_refuses_what_the_quantizer_will_make(quantizer: Any, refused: str) -> None:
    """The misfit shows before anything is quantised, and names the quantizer's options."""
    runtime = TensorRt(TensorRtOptions(Flavour.rtx, ["8.9"]))
    spec = quantizer.plan(ArtifactSpec("onnx"))
    if refused:
        with pytest.raises(MisfitError, match=refused) as caught:
            runtime.plan(spec)
        assert "quantizer.activation=int8" in str(caught.value)
    else:
        assert spec.traits == frozenset()
