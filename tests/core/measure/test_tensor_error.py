"""The tensors that lost most inside a quantised graph, found by comparing it with the float one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import core.measure.tensor_error as module
from core import Artifact, Session, StageContext, Tensors
from core.conformance.converter import artifact
from core.measure.metrics import snr_db
from core.measure.tensor_error import Lost, worst
from core.plugin.progress import silent
from plugins.runtime.onnxruntime import OnnxRuntime

SHAPE = [1, 8]
SCALE = 0.25
WINDOWS = [
    {"x": np.random.default_rng(seed).standard_normal(SHAPE).astype(np.float32)} for seed in (0, 1)
]


def _graph(folder: Path, *, quantised: bool, fused: bool = False) -> Artifact:
    """Return `y = tanh(-x) + 1`, with `tanh(-x)` rounded to multiples of `SCALE` if quantised."""
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, SHAPE) for name in "xy"]
    first = [] if fused else [helper.make_node("Neg", ["x"], ["negated"], "neg")]
    start = "x" if fused else "negated"
    last, middle = "tanh", []
    if quantised:
        last = "tanh_restored"
        middle = [
            helper.make_node("QuantizeLinear", ["tanh", "scale", "zero"], ["integers"]),
            helper.make_node("DequantizeLinear", ["integers", "scale", "zero"], [last]),
        ]
    nodes = [
        *first,
        helper.make_node("Tanh", [start], ["tanh"], "tanh"),
        *middle,
        helper.make_node("Add", [last, "one"], ["y"], "add"),
    ]
    constants = [
        numpy_helper.from_array(np.array(1, np.float32), "one"),
        numpy_helper.from_array(np.array(SCALE, np.float32), "scale"),
        numpy_helper.from_array(np.array(0, np.int8), "zero"),
    ]
    graph = helper.make_graph(nodes, "test", ends[:1], ends[1:], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    folder.mkdir()
    onnx.save(model, folder / "model.onnx")
    return artifact(folder, folder / "model.onnx", "onnx", "fp32")


def _found(tmp_path: Path, *, fused: bool = False, count: int = 10) -> list[Lost]:
    before = _graph(tmp_path / "float", quantised=False)
    after = _graph(tmp_path / "integers", quantised=True, fused=fused)
    scratch = tmp_path / "scratch"
    scratch.mkdir()

    def opens(graph: Artifact) -> Session:
        return OnnxRuntime(OnnxRuntime.Options(threads=1)).open(
            graph, lambda: pytest.fail("no module is needed"), StageContext(scratch, silent())
        )

    return worst(before, after, WINDOWS, opens, count, scratch, silent())


def test_views_become_arrays_in_order(tmp_path: Path) -> None:
    """No session gets an array whose memory does not have its values in order."""
    before = _graph(tmp_path / "float", quantised=False)
    after = _graph(tmp_path / "integers", quantised=True)
    in_order: list[bool] = []

    class Looking(Session):
        """Looks at the array, and gives zeros for every tensor."""

        device = "a looking glass"

        def run(self, feeds: Tensors) -> Tensors:
            """Note whether the array is in order."""
            in_order.append(feeds["x"].flags.c_contiguous)
            names = ("y", "tanh", "tanh_restored", "negated")
            return {name: np.zeros(SHAPE, np.float32) for name in names}

    views = [{"x": window["x"][:, ::-1]} for window in WINDOWS]
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    worst(before, after, views, lambda _: Looking(), 1, scratch, silent())
    assert in_order
    assert all(in_order)


def test_a_tensor_counts_as_it_is_after_rounding(tmp_path: Path) -> None:
    """The SNR is that of the dequantised integers over all windows; lossless tensors come last."""
    found = _found(tmp_path)
    assert [(lost.tensor, lost.operator) for lost in found] == [
        ("tanh", "Tanh"), ("y", "Add"), ("negated", "Neg"),
    ]  # fmt: skip
    exact = np.concatenate([np.tanh(-window["x"]) for window in WINDOWS])
    rounded = (np.round(exact / SCALE) * SCALE).astype(np.float32)
    assert found[0].snr_db == pytest.approx(snr_db(exact, rounded), abs=0.01)
    assert found[1].snr_db == pytest.approx(snr_db(exact + 1, rounded + 1), abs=0.01)
    assert found[2].snr_db == 200


def test_only_as_many_as_were_asked_for(tmp_path: Path) -> None:
    """Only the requested number of tensors is returned, the worst of all."""
    assert [lost.tensor for lost in _found(tmp_path, count=1)] == ["tanh"]


def test_what_only_one_graph_has_is_left_out(tmp_path: Path) -> None:
    """A tensor that was fused away has no counterpart and is left out."""
    assert {lost.tensor for lost in _found(tmp_path, fused=True)} == {"tanh", "y"}


def test_a_few_tensors_at_a_time_give_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Graphs that are run again for the rest of the tensors give the same result."""
    (tmp_path / "all").mkdir()
    (tmp_path / "few").mkdir()
    at_once = _found(tmp_path / "all")
    monkeypatch.setattr(module, "AT_ONCE", 1)
    assert _found(tmp_path / "few") == at_once
