"""The reasons for nodes on the CPU, read from a stored log of the provider and from a real one."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from core import Placed, StageContext, StageError
from core.conformance.converter import of, onnx_artifact, torch_model
from core.plugin.progress import silent
from plugins.runtime._htp.library import available
from plugins.runtime._htp.rejections import reasons, redirected
from plugins.runtime.qnn import Qnn, QnnOptions

needs_qnn = pytest.mark.skipif(available() is not None, reason=str(available()))
#: A log of onnxruntime-qnn 2.7.0, without times and code places.
LOG = """\
[V:onnxruntime:, x.cc:1713 LogNodeSupport] Validation FAILED for 1 nodes in OrtNodeUnit (QuantizeLinear) :
\tOperator type: QuantizeLinear Node name: mix_q Node index: 9
\tREASON : QNN EP is configured to not take Q nodes that consume a graph input.
\x1b[0;93m[V:onnxruntime:, x.cc:1713 LogNodeSupport] Validation PASSED for 1 nodes in OrtNodeUnit
\tOperator type: Relu Node name: relu Node index: 0
\tREASON : 
[V:onnxruntime:, x.cc:1713 LogNodeSupport] Validation FAILED for 1 nodes in OrtNodeUnit (Erf) :
\tOperator type: Erf Node name: erf 1 Node index: 1
\tREASON : Operators of type `Erf` are not supported by QNN EP.Erf node `erf 1` will not be assigned to QNN EP.
[V:onnxruntime:Default, x.cc:519 QnnLogging]  <E> The SocModel doesn't support FP16
[V:onnxruntime:Default, x.cc:519 QnnLogging]  <E> QnnBackend_validateOpConfig failed 3110
[V:onnxruntime:, x.cc:1713 LogNodeSupport] Validation FAILED for 2 nodes in OrtNodeUnit (Conv) :
\tOperator type: Conv Node name: conv Node index: 2
\tOperator type: QuantizeLinear Node name: conv_q Node index: 3
\tREASON : Failed to add node.
[V:onnxruntime:, x.cc:1713 LogNodeSupport] Validation FAILED for 1 nodes in OrtNodeUnit (Erf) :
\tOperator type: Erf Node name: erf 1 Node index: 1
\tREASON : another one, of a later round
"""  # noqa: E501, W291  # the provider's own lines


def test_the_reasons_are_read_from_the_log() -> None:
    """The log gives the first reason for each node, or the vendor's own error if it refused."""
    assert reasons(LOG) == {
        "erf 1": "Operators of type `Erf` are not supported by QNN EP.",
        "conv": "The SocModel doesn't support FP16",
        "conv_q": "The SocModel doesn't support FP16",
    }


def test_what_c_code_writes_goes_to_the_log(tmp_path: Path) -> None:
    """Output of C code on both streams goes to the log, inside the block only."""
    with redirected(tmp_path / "log"):
        os.write(1, b"out\n")
        os.write(2, b"err\n")
    os.write(2, b"after\n")
    assert (tmp_path / "log").read_text() == "out\nerr\n"


def split(path: Path) -> None:
    """Write two ReLUs with an Erf between them; QNN has no Erf."""
    nodes = [
        helper.make_node("Relu", ["x"], ["a"], name="before"),
        helper.make_node("Erf", ["a"], ["b"], name="middle"),
        helper.make_node("Relu", ["b"], ["y"], name="after"),
    ]
    ends = [[helper.make_tensor_value_info(n, TensorProto.FLOAT, [1, 4, 8, 8])] for n in "xy"]
    graph = helper.make_graph(nodes, "split", *ends)
    opset = [helper.make_opsetid("", 20)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=10), path)


@pytest.fixture
def work(tmp_path: Path) -> StageContext:
    """Return a work folder for the compiler."""
    (tmp_path / "work").mkdir()
    return StageContext(tmp_path / "work", silent())


@needs_qnn
def test_a_node_on_the_cpu_comes_with_its_reason(tmp_path: Path, work: StageContext) -> None:
    """A node on the CPU has its reason in the facts and in the notice."""
    artifact = onnx_artifact(tmp_path / "given")
    split(Path(artifact.path))
    made = Qnn(QnnOptions(soc_model=57, htp_arch=75)).compile(artifact, work)
    assert made.facts["partitions"] == 2
    why = "Operators of type `Erf` are not supported by QNN EP."
    assert made.facts["cpu_nodes"] == [{"node": "middle", "operator": "Erf", "reason": why}]
    assert f"the first: Erf middle ({why})" in made.notices[0].text
    assert {p.suffix for p in work.folder.iterdir()} == {".onnx", ".bin"}


@needs_qnn
def test_a_chip_without_floats_is_told_as_that(tmp_path: Path, work: StageContext) -> None:
    """The error for a chip without FP16 (SM8635, soc model 68) gives this reason.

    The compiler's own error does not.
    """
    artifact = onnx_artifact(tmp_path / "given")
    with pytest.raises(StageError, match="The SocModel doesn't support FP16") as error:
        Qnn(QnnOptions(soc_model=68, htp_arch=73)).compile(artifact, work)
    assert "precision=..." in str(error.value)


@needs_qnn
def test_what_the_emulator_left_to_the_cpu_is_counted(tmp_path: Path, work: StageContext) -> None:
    """The emulator's own trace has the node on the CPU; the two on the NPU compute in FP16."""
    artifact = onnx_artifact(tmp_path / "given")
    split(Path(artifact.path))
    runtime = Qnn(QnnOptions(soc_model=57, htp_arch=75))
    compiled = of(runtime.compile(artifact, work), work)
    given = {"x": np.ones((1, 4, 8, 8), np.float32)}
    with runtime.open(compiled, torch_model, work) as session:
        assert session.placement(given) is None  # nothing ran yet
        session.run(given)
        placement = session.placement(given)
    assert placement is not None
    assert placement.placed == (
        Placed("HTP (emulated)", 2, "fp16"),
        Placed("CPU", 1, "fp32", asked=False),
    )
    assert placement.left == (("middle", "Erf"),)
    assert not list(work.folder.glob("qnn-*"))
