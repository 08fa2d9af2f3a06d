"""Signal and error power of an output of any kind."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from core import Artifact, Calibration, StageContext
from core.plugin.progress import silent
from plugins.quantizer._onnx.graph.powers import powers
from plugins.quantizer.mixed import Mixed, MixedOptions
from plugins.quantizer.qdq import Activation, Qdq, QdqOptions
from tests.plugins.graphs import INFO, lowered, windows

INF, NAN = np.inf, np.nan
SHAPE = [1, 4, 256]


@pytest.mark.parametrize(
    ("expected", "got", "found"),
    [
        ([3.0, 4.0], [3.0, 3.0], (25.0, 1.0)),
        ([3.0, -INF], [2.0, -INF], (9.0, 1.0)),
        ([3.0, -INF], [3.0, INF], (9.0, 9.0)),
        ([3.0, -INF], [3.0, -1e9], (9.0, 9.0)),
        ([3.0, 4.0], [3.0, NAN], (25.0, 25.0)),
        ([3.0, 4.0], [3.0], (25.0, 25.0)),
        ([0.0], [0.0, 0.0], (0.0, 1.0)),
        ([2, 1], [2, 3], (5.0, 4.0)),
        (["a", "b"], ["a", "c"], (2.0, 1.0)),
    ],
)
def test_of_one_tensor(expected: Any, got: Any, found: tuple[float, float]) -> None:
    """Equal infinities are no signal; an output of another size or with NaN is lost whole."""
    assert powers(np.array(expected), np.array(got)) == found


def test_of_a_sequence() -> None:
    """Powers of a sequence add up over its tensors; a sequence of another length is lost whole."""
    three, four = np.array([3.0]), np.array([4.0])
    assert powers([three, four], [three, three]) == (25.0, 1.0)
    assert powers([three, four], [three]) == (25.0, 25.0)


def _ending_in(kind: str) -> Any:
    """Return a layer whose output is a sequence, of a length that depends on values, or masked.

    A signature cannot state the shape of such outputs.
    """
    random = np.random.default_rng(3)
    weights = {"w": random.standard_normal((4, 4, 3)) / 3, "b": random.standard_normal(4)}
    constants: dict[str, Any] = {"zero": np.zeros(1), "flat": np.array([-1])}
    nodes = [helper.make_node("Conv", ["x", "w", "b"], ["h"], "layer", pads=[1, 1])]
    output = helper.make_tensor_value_info("y", TensorProto.FLOAT, [None])
    if kind == "sequence":
        nodes.append(helper.make_node("SplitToSequence", ["h"], ["y"], "split", axis=1))
        output = helper.make_tensor_sequence_value_info("y", TensorProto.FLOAT, None)
    elif kind == "as many as pass":
        nodes += [
            helper.make_node("Reshape", ["h", "flat"], ["row"], "flatten"),
            helper.make_node("Greater", ["row", "zero"], ["some"], "compare"),
            helper.make_node("Compress", ["row", "some"], ["y"], "pick", axis=0),
        ]
    else:
        constants["mask"] = np.where(np.arange(SHAPE[2]) < 40, -INF, 0.0)
        nodes.append(helper.make_node("Add", ["h", "mask"], ["y"], "masked"))
        output = helper.make_tensor_value_info("y", TensorProto.FLOAT, SHAPE)
    held = [
        numpy_helper.from_array(v if v.dtype.kind == "i" else v.astype(np.float32), n)
        for n, v in {**weights, **constants}.items()
    ]
    given = [helper.make_tensor_value_info("x", TensorProto.FLOAT, SHAPE)]
    made = helper.make_graph(nodes, "graph", given, [output], held)
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


@pytest.mark.parametrize("kind", ["sequence", "as many as pass", "masked"])
@pytest.mark.parametrize("activation", [Activation.uint8, Activation.uint16])
def test_any_output_is_quantised(kind: str, activation: Activation, tmp_path: Path) -> None:
    """Sequences, outputs of variable length and masked outputs are quantised.

    With 16 bits, the biases settled in silence are compared at the outputs.
    """
    given = windows(lambda random: {"x": random.standard_normal(SHAPE)})
    made = lowered(Qdq(QdqOptions(activation=activation)), _ending_in(kind), given, tmp_path)
    assert made.facts["quantised_nodes"] if "quantised_nodes" in made.facts else made.path.exists()


def test_masked_scores_are_no_noise_for_mixed(tmp_path: Path) -> None:
    """Infinities in masked scores add no noise for `mixed`, so its limit can hold."""
    import onnx

    given = windows(lambda random: {"x": random.standard_normal(SHAPE)}, count=12)
    source = tmp_path / "source.onnx"
    onnx.save(_ending_in("masked"), source)
    artifact = Artifact(str(tmp_path), str(source), "onnx", "fp32", "", 1, model=INFO)
    (tmp_path / "work").mkdir()
    quantizer = Mixed(MixedOptions(windows=9, held_windows=3, min_snr_db=30.0))
    work = StageContext(tmp_path / "work", silent())
    made = quantizer.run(artifact, Calibration(len(given), lambda: given), work)
    assert made.facts["snr_db"] > 30
