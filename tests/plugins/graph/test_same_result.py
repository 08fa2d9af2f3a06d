"""Two graphs are compared on random inputs, and a notice says when this is impossible."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

from core import StageError, StageResult
from core.plugin.progress import silent
from plugins.graph._same_result import NotPlayableError, check_same
from plugins.graph.onnxsim import Onnxsim
from tests.plugins.networks import artifact, separator, work_in

VERSIONS = {"opset_imports": [helper.make_opsetid("", 20)], "ir_version": 10}
Shape = list[int]


def _graph(
    file: Path, nodes: list[onnx.NodeProto], inputs: dict[str, tuple[int, Shape]], rank: int = 2
) -> Path:
    """Write a graph of `nodes` with one output of floats, `y`."""
    given = [helper.make_tensor_value_info(n, kind, shape) for n, (kind, shape) in inputs.items()]
    result = helper.make_tensor_value_info("y", TensorProto.FLOAT, [None] * rank)
    model = helper.make_model(helper.make_graph(nodes, "g", given, [result]), **VERSIONS)
    onnx.save(model, file)
    return file


def _same(before: Path, after: Path) -> float:
    return check_same(before, after, 1, 90.0, {}, silent())


FLOATS = {"x": (TensorProto.FLOAT, [2, 8])}


@pytest.mark.parametrize("operator", ["Sqrt", "Log"])
def test_a_root_is_compared_with_itself(operator: str, tmp_path: Path) -> None:
    """A graph equals itself although noise makes half of its output NaN.

    Such an output once counted as another result, at -200 dB.
    """
    graph = _graph(tmp_path / "g.onnx", [helper.make_node(operator, ["x"], ["y"])], FLOATS)
    assert _same(graph, graph) == 200


def test_another_root_is_found_where_noise_has_a_sign(tmp_path: Path) -> None:
    """Different roots are told apart on other inputs than noise, and the error names the output."""
    first = _graph(tmp_path / "a.onnx", [helper.make_node("Sqrt", ["x"], ["y"])], FLOATS)
    nodes = [helper.make_node("Add", ["x", "x"], ["s"]), helper.make_node("Sqrt", ["s"], ["y"])]
    with pytest.raises(StageError, match=r"output `y` has \d\.\d dB SNR"):
        _same(first, _graph(tmp_path / "b.onnx", nodes, FLOATS))


def test_a_nan_that_only_the_rewrite_gives_is_found(tmp_path: Path) -> None:
    """A NaN that only the rewritten graph gives is a difference."""
    first = _graph(tmp_path / "a.onnx", [helper.make_node("Abs", ["x"], ["y"])], FLOATS)
    second = _graph(tmp_path / "b.onnx", [helper.make_node("Sqrt", ["x"], ["y"])], FLOATS)
    with pytest.raises(StageError, match="computes other values"):
        _same(first, second)


def test_an_output_of_another_shape_is_named(tmp_path: Path) -> None:
    """An output of another shape is refused with its name and both shapes."""
    first = _graph(tmp_path / "a.onnx", [helper.make_node("Abs", ["x"], ["y"])], FLOATS)
    other = [helper.make_node("Flatten", ["x"], ["y"], axis=0)]
    with pytest.raises(StageError, match="gives another output `y`") as caught:
        _same(first, _graph(tmp_path / "b.onnx", other, FLOATS))
    assert "before: 2×8" in str(caught.value)
    assert "after: 1×16" in str(caught.value)


def test_a_rewrite_that_cannot_be_played_is_refused(tmp_path: Path) -> None:
    """A rewritten graph that cannot be played is refused if the graph before can."""
    first = _graph(tmp_path / "a.onnx", [helper.make_node("Abs", ["x"], ["y"])], FLOATS)
    unknown = [helper.make_node("Abss", ["x"], ["y"])]
    with pytest.raises(StageError, match="cannot be played, but the graph before can") as caught:
        _same(first, _graph(tmp_path / "b.onnx", unknown, FLOATS))
    assert "Abss" in str(caught.value)


@pytest.mark.parametrize(
    ("nodes", "inputs", "rank", "why"),
    [
        (
            [helper.make_node("Expand", ["x", "shape"], ["y"])],
            {"x": (TensorProto.FLOAT, [2, 8]), "shape": (TensorProto.INT64, [3])},
            3,
            "Expand",
        ),
        (
            [
                helper.make_node("Size", ["t"], ["n"]),
                helper.make_node("Cast", ["n"], ["y"], to=TensorProto.FLOAT),
            ],
            {"t": (TensorProto.STRING, [2])},
            0,
            "`t` is of the type tensor(string)",
        ),
    ],
    ids=["a shape", "texts"],
)
def test_what_noise_cannot_be_played_through_is_said_not_to_be_compared(
    nodes: list[onnx.NodeProto],
    inputs: dict[str, tuple[int, Shape]],
    rank: int,
    why: str,
    tmp_path: Path,
) -> None:
    """A graph with a shape or a text as input is simplified, with a warning.

    The warning says that the graphs were not compared, and why.
    """
    work = work_in(tmp_path / "source")
    path = _graph(work.folder / "model.onnx", nodes, inputs, rank)
    with pytest.raises(NotPlayableError):
        _same(path, path)
    source = artifact(StageResult(path, "onnx", "fp32"), separator().info)
    made = Onnxsim(Onnxsim.Options()).run(source, work_in(tmp_path / "graph"))
    (notice,) = made.notices
    assert notice.severity == "warning"
    assert "was not compared with the one before" in notice.text
    assert why in notice.text
