"""An ONNX graph on disk: one file or two, without notes, its operators counted."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import helper, numpy_helper

from core.formats.onnx_graph import clear_notes, operators, save

#: Bytes of the weights of `_model`.
WEIGHTS = 4_096 + 8_192


def _model() -> onnx.ModelProto:
    """Make `y = (x + first + first) * second`, with weights as raw data, each longer than 1 KiB."""
    graph = helper.make_graph(
        [
            helper.make_node("Add", ["x", "first"], ["a"], name="add0"),
            helper.make_node("Add", ["a", "first"], ["b"], name="add1"),
            helper.make_node("Mul", ["b", "second"], ["y"], name="mul"),
        ],
        "small",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [2, 1_024])],
        [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [2, 1_024])],
        [
            numpy_helper.from_array(np.arange(1_024, dtype=np.float32), "first"),
            numpy_helper.from_array(np.ones((2, 1_024), np.float32), "second"),
        ],
        value_info=[helper.make_tensor_value_info("a", onnx.TensorProto.FLOAT, [2, 1_024])],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


def _names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_weights_up_to_the_limit_are_one_file(tmp_path: Path) -> None:
    """Below the limit, graph and weights are one file, and are read back unchanged."""
    save(_model(), tmp_path / "small.onnx", one_file_bytes=WEIGHTS)
    assert _names(tmp_path) == ["small.onnx"]
    assert onnx.load(tmp_path / "small.onnx") == _model()


def test_a_model_too_large_for_one_file_is_split(tmp_path: Path) -> None:
    """A model above protobuf's limit is split; a small limit stands in for 2 GB."""
    save(_model(), tmp_path / "large.onnx", one_file_bytes=WEIGHTS - 1)
    assert _names(tmp_path) == ["large.onnx", "large.onnx.data"]
    onnx.checker.check_model(str(tmp_path / "large.onnx"))
    weights = {t.name: numpy_helper.to_array(t) for t in _loaded(tmp_path / "large.onnx")}
    expected = {t.name: numpy_helper.to_array(t) for t in _model().graph.initializer}
    assert list(weights) == list(expected)
    for name, array in expected.items():
        np.testing.assert_array_equal(weights[name], array)


def _loaded(path: Path) -> list[onnx.TensorProto]:
    return list(onnx.load(path).graph.initializer)


def test_weights_can_lie_beside_a_small_graph(tmp_path: Path) -> None:
    """A small graph is written as two files on request."""
    save(_model(), tmp_path / "small.onnx", beside=True)
    assert _names(tmp_path) == ["small.onnx", "small.onnx.data"]
    assert (tmp_path / "small.onnx").stat().st_size < 1_024


def test_equal_models_give_equal_files(tmp_path: Path) -> None:
    """Equal models give equal files, because results are kept under the hash of all files."""
    for name in "ab":
        (tmp_path / name).mkdir()
        save(_model(), tmp_path / name / "one.onnx")
        save(_model(), tmp_path / name / "two.onnx", beside=True)
    files = [{p.name: p.read_bytes() for p in (tmp_path / name).iterdir()} for name in "ab"]
    assert len(files[0]) == 3
    assert files[0] == files[1]


def _noted() -> onnx.ModelProto:
    """Return `_model` with a note and a doc string wherever there is room for them."""
    model = _model()
    graph = model.graph
    entries = (*graph.node, *graph.value_info, *graph.input, *graph.output, *graph.initializer)
    for entry in (model, graph, *entries):
        entry.metadata_props.add(key="stack", value="/home/someone/model.py")
        entry.doc_string = "line 12"
    return model


def test_notes_are_removed_everywhere() -> None:
    """Notes are removed, nothing else changes, and doc strings go only on request."""
    model = _noted()
    clear_notes(model)
    assert "someone" not in str(model)
    assert str(model).count("line 12") == str(_noted()).count("line 12")


def test_doc_strings_are_emptied_on_request() -> None:
    """Without doc strings, the model says nothing of the machine that traced it."""
    model = _noted()
    clear_notes(model, doc_strings=True)
    assert "someone" not in str(model)
    assert "line 12" not in str(model)
    assert [node.name for node in model.graph.node] == ["add0", "add1", "mul"]


def test_operators_are_counted_most_frequent_first() -> None:
    """The given nodes, perhaps some of a graph, are counted, most frequent first."""
    nodes = _model().graph.node
    assert operators(nodes) == {"Add": 2, "Mul": 1}
    assert operators(nodes[1:2]) == {"Add": 1}
