"""The S24's real compiler and emulator, on two small convolutions."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest

from core import StageContext, StageError
from core.conformance import RuntimeSuite
from core.conformance.converter import of, onnx_artifact
from core.plugin.progress import silent
from plugins.runtime._htp.library import available
from plugins.runtime.qnn import Qnn, QnnOptions

pytestmark = pytest.mark.skipif(available() is not None, reason=str(available()))
S24 = QnnOptions(soc_model=57, htp_arch=75)


class TestQnn(RuntimeSuite):
    """`qnn` keeps every runtime's contract; the HTP computes floats in FP16."""

    plugin = Qnn
    options = S24
    agreement_db = 45.0


def test_the_partition_map_counts_every_node(tmp_path: Path) -> None:
    """All three nodes are in one partition on the NPU, with no node on the CPU."""
    work = StageContext(tmp_path / "work", silent())
    work.folder.mkdir()
    made = Qnn(S24).compile(onnx_artifact(tmp_path / "given"), work)
    assert made.facts["partitions"] == 1
    assert made.facts["nodes_total"] == made.facts["nodes_on_npu"] == 3
    assert made.facts["cpu_nodes"] == []
    assert made.facts["npu_op_counts"] == {"Conv": 2, "Relu": 1}
    assert made.facts["npu_nodes_by_precision"] == {"fp16": 3}
    assert made.facts["accelerator_coverage"] == 1.0
    assert made.notices == ()
    assert Path(of(made, work).path).is_file()


def test_a_limit_that_is_too_low_is_named(tmp_path: Path) -> None:
    """A memory limit that is too low stops the child, and the message says to raise it."""
    work = StageContext(tmp_path / "work", silent())
    work.folder.mkdir()
    tight = QnnOptions(soc_model=57, htp_arch=75, memory_limit_mb=30)
    with pytest.raises(StageError, match="of memory here; the limit is") as error:
        Qnn(tight).compile(onnx_artifact(tmp_path / "given"), work)
    assert "raise the memory limit" in str(error.value)


@pytest.mark.parametrize("wrong", [{"finalization_mode": 4}, {"time_limit_s": 0.0}])
def test_options_are_checked_before_anything_starts(wrong: dict[str, float]) -> None:
    """A wrong option is a ValueError with its name, before any process starts."""
    with pytest.raises(ValueError, match=next(iter(wrong))):
        QnnOptions(soc_model=57, htp_arch=75, **wrong)  # type: ignore[arg-type]  # wrong on purpose


@pytest.mark.parametrize("axis", ["height", ""])
def test_a_graph_of_any_length_is_refused_by_the_name_of_the_axis(
    axis: str, tmp_path: Path
) -> None:
    """A graph with a free axis is refused by the axis.

    The vendor's compiler takes no node of such a graph and gives no reason.
    """
    work = StageContext(tmp_path / "work", silent())
    work.folder.mkdir()
    given = onnx_artifact(tmp_path / "given")
    model = onnx.load(given.path)
    free = model.graph.input[0].type.tensor_type.shape.dim[2]
    free.Clear()
    if axis:
        free.dim_param = axis
    onnx.save(model, given.path)
    with pytest.raises(StageError, match=f"leaves `{axis or 'axis 2'}` free") as caught:
        Qnn(S24).compile(given, work)
    assert "exporter.dynamic=false" in str(caught.value)
