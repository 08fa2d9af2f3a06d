"""The NPU's integer multiplier handles channels that differ by orders of magnitude."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from core import StageContext, StageResult
from core.conformance.converter import of
from core.measure.metrics import snr_db
from core.plugin.progress import silent
from plugins.quantizer.qdq import Activation, Method, Qdq, Weight
from plugins.runtime._htp.library import available
from plugins.runtime.qnn import Qnn, QnnOptions
from tests.plugins.graphs import computed, graph, lowered, windows, worst_db

CHANNELS = 16
SMALLEST = 2.0**-24
"""The smallest multiplier that onnxruntime-qnn 2.7.0 gets right from 16 bits to 16 bits."""


def layer(operator: str, tiny: float) -> onnx.ModelProto:
    """Return one layer; two channels' weights are `tiny` times the others, one channel's are 0."""
    random = np.random.default_rng(3)
    gain = np.ones(CHANNELS)
    gain[[2, 7]], gain[11] = tiny, 0.0
    bias = random.uniform(-2, 2, CHANNELS)
    bias[[7, 11]] *= 1e-6
    shape = [1, CHANNELS, 1, 48]
    weights = random.standard_normal((CHANNELS, CHANNELS)) / 4 * gain[:, None]
    operands, given = ["x", "w", "b"], {}
    if operator in ("Gemm", "MatMul"):
        shape = [48, CHANNELS]
        given = {"transB": 1} if operator == "Gemm" else {}
    if operator == "MatMul":
        weights, operands = weights.T, ["x", "w"]
    if operator == "Conv":
        weights = weights[:, :, None, None]
    if operator == "ConvTranspose":
        weights = weights.T[:, :, None, None]
    node = helper.make_node(operator, operands, ["y"], name="layer", **given)
    constants = {"w": weights, "b": bias}
    return graph([node], {"x": shape}, {"y": shape}, {n: constants[n] for n in operands[1:]})


def _made(model: onnx.ModelProto, weight: Weight, folder: Path) -> tuple[StageResult, list[dict]]:
    shape = [axis.dim_value for axis in model.graph.input[0].type.tensor_type.shape.dim]
    given = windows(lambda r: {"x": r.uniform(-1, 1, shape)}, 14)
    options = Qdq.Options(
        weight=weight, activation=Activation.uint16, method=Method.minmax, per_channel=True
    )
    return lowered(Qdq(options), model, given[:12], folder), given[12:]


OPERATORS = pytest.mark.parametrize("operator", ["Conv", "ConvTranspose", "Gemm", "MatMul"])


@OPERATORS
@pytest.mark.parametrize("weight", [Weight.int8, Weight.int4])
@pytest.mark.parametrize("tiny", [1e-4, 1e-9])
def test_no_multiplier_is_smaller_than_the_npu_counts(
    operator: str, weight: Weight, tiny: float, tmp_path: Path
) -> None:
    """No multiplier is below the NPU's smallest, because tiny channels get a larger weight step.

    The larger step has no audible effect on the result.
    """
    model = layer(operator, tiny)
    made, held = _made(model, weight, tmp_path)
    quantised = onnx.load(str(made.path))
    constants = {t.name: numpy_helper.to_array(t) for t in quantised.graph.initializer}
    restored = {n.output[0]: n for n in quantised.graph.node if n.op_type == "DequantizeLinear"}
    node = next(n for n in quantised.graph.node if n.name == "layer")
    read, weights = (constants[restored[name].input[1]] for name in node.input[:2])
    written = next(n for n in quantised.graph.node if n.input and n.input[0] == node.output[0])
    multipliers = read * weights / constants[written.input[1]]
    assert multipliers.min() > SMALLEST
    assert worst_db(model, made, held) > (15 if weight is Weight.int4 else 40)


@OPERATORS
@pytest.mark.skipif(available() is not None, reason=str(available()))
def test_the_emulator_computes_such_a_channel_as_a_cpu_does(operator: str, tmp_path: Path) -> None:
    """The emulator computes a tiny channel as a CPU does, with over 40 dB.

    Without the larger step it gave the end of the range, at -10 dB.
    """
    model = layer(operator, 1e-9)
    made, held = _made(model, Weight.int8, tmp_path)
    work = StageContext(tmp_path / "npu", silent())
    work.folder.mkdir()
    npu = Qnn(QnnOptions(soc_model=57, htp_arch=75))
    artifact = of(made, StageContext(Path(made.path).parent, silent()))
    compiled = of(npu.compile(artifact, work), work)
    session = npu.open(compiled, lambda: pytest.fail("nothing needs the model"), work)
    for window in held:
        (expected,), actual = computed(model, window), session.run(window)["y"]
        assert snr_db(expected, actual) > 40
