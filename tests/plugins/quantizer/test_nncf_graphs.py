"""Graphs and windows on their way to NNCF and back, and what is said where it fails."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from core import Calibration, InputError, StageError
from core.conformance.converter import onnx_artifact
from core.formats.tensors import load
from core.machine.child_process import ChildEnd, Limits
from core.plugin.progress import silent
from plugins.quantizer._nncf import child, process
from plugins.quantizer._nncf.described import endless, reverted
from plugins.quantizer._nncf.failure import failure_of
from plugins.quantizer._nncf.loss import worst_db
from plugins.quantizer._nncf.prepared import check_weights, left_in_float, once, told, unshared
from plugins.quantizer._nncf.windows import Written, written
from plugins.quantizer.nncf import Nncf
from tests.plugins.graphs import computed, graph, lowered, windows

KERNEL = np.random.default_rng(0).standard_normal((8, 8, 3)) / 5
SHAPE = [1, 8, 32]
LIMITS = Limits(seconds=5)


def _conv(inputs: str, output: str) -> onnx.NodeProto:
    return helper.make_node("Conv", inputs.split(), [output], name=f"{output}/node", pads=[1, 1])


def _noise(count: int = 12) -> list[dict[str, np.ndarray]]:
    return windows(lambda r: {"x": r.uniform(-1, 1, SHAPE)}, count)


def _shared() -> onnx.ModelProto:
    """Return two convolutions of one kernel, which the body of an If reads as well."""
    made = helper.make_tensor_value_info("inner", TensorProto.FLOAT, None)
    bodies = [
        helper.make_graph([_conv(f"{name} w", "inner")], "body", [], [made]) for name in ("h", "x")
    ]
    nodes = [
        _conv("x w", "h"),
        _conv("h w", "g"),
        helper.make_node("ReduceMax", ["g"], ["most"], name="most", keepdims=0),
        helper.make_node("Greater", ["most", "much"], ["loud"], name="loud"),
        helper.make_node(
            "If", ["loud"], ["y"], name="if", then_branch=bodies[0], else_branch=bodies[1]
        ),
    ]
    return graph(nodes, {"x": SHAPE}, {"y": SHAPE}, {"w": KERNEL, "much": 1.0})


def test_every_reader_gets_its_own_constants() -> None:
    """Weights that several nodes read, or the body of one, are copied; the result is the same."""
    model, window = _shared(), _noise(1)[0]
    expected = computed(model, window)
    own = unshared(model)
    read = [node.input[1] for node in own.graph.node if node.op_type == "Conv"]
    assert len({*read, "w"}) == 3, "two readers, and the bodies keep the first"
    onnx.checker.check_model(own)
    np.testing.assert_array_equal(computed(own, window)[0], expected[0])


def test_no_node_reads_a_result_twice() -> None:
    """The square of a tensor becomes its product with a copy; constants may be read twice."""
    nodes = [
        helper.make_node("Mul", ["x", "x"], ["s"], name="square"),
        helper.make_node("Clip", ["s", "one", "one"], ["c"], name="clip"),
        helper.make_node("Add", ["c", "x"], ["y"], name="sum"),
    ]
    model = graph(nodes, {"x": [4]}, {"y": [4]}, {"one": np.float32(1)})
    window = {"x": np.arange(4, dtype=np.float32)}
    expected = computed(model, window)[0]
    own = once(model)
    onnx.checker.check_model(own)
    assert [node.op_type for node in own.graph.node] == ["Identity", "Mul", "Clip", "Add"]
    np.testing.assert_array_equal(computed(own, window)[0], expected)


def test_weights_that_are_computed_are_refused_by_the_node() -> None:
    """The error names the layer and its weights."""
    nodes = [helper.make_node("Mul", ["w", "x"], ["v"], name="v"), _conv("x v", "y")]
    model = graph(nodes, {"x": [8, 8, 3]}, {"y": [8, 8, 3]}, {"w": KERNEL})
    with pytest.raises(StageError, match="Conv `y/node` computes its own") as caught:
        check_weights(model, Path("model.onnx"))
    assert "weights: `v`" in caught.value.lines


def test_products_that_no_runtime_takes_stay_in_float() -> None:
    """Constants on the left or of three dimensions stay in float, with a notice; others do not."""
    matrix = np.eye(4)
    nodes = [
        helper.make_node("MatMul", ["x", "right"], ["a"], name="on the right"),
        helper.make_node("MatMul", ["left", "a"], ["b"], name="on the left"),
        helper.make_node("MatMul", ["b", "deep"], ["y"], name="of three"),
    ]
    constants = {"right": matrix, "left": matrix, "deep": np.stack([matrix] * 2)}
    model = graph(nodes, {"x": [4, 4]}, {"y": [2, 4, 4]}, constants)
    found = left_in_float(model)
    assert found == ["on the left", "of three"]
    (notice,) = told(model, found)
    assert notice.text.endswith("on the left (MatMul), of three (MatMul)")
    assert told(model, []) == ()


def _written(
    folder: Path, given: list[dict[str, np.ndarray]], held: int = 0, promised: int = 0
) -> Written:
    model = folder / "float.onnx"
    onnx.save(graph([_conv("x w", "y")], {"x": SHAPE}, {"y": SHAPE}, {"w": KERNEL}), model)
    return written(model, Calibration(promised or len(given), lambda: given), held, silent())


def test_windows_are_written_and_some_held_back(tmp_path: Path) -> None:
    """Every window is in one of both parts, with its values and without what the graph lacks."""
    given = [{**window, "more": np.ones(2, np.float32)} for window in _noise(12)]
    made = _written(tmp_path, given, held=3)
    assert made.apart
    assert len(made.held) == 3
    files = sorted({*made.windows, *made.held}, key=lambda file: int(file.stem.split("_")[1]))
    assert len(files) == 12
    for file, window in zip(files, given, strict=True):
        assert list(load(file)) == ["x"]
        np.testing.assert_array_equal(load(file)["x"], window["x"])
    assert _written(tmp_path, given).held == ()


@pytest.mark.parametrize("promised", [1, 27])
def test_too_few_windows_to_hold_any_back_are_all_used_twice(tmp_path: Path, promised: int) -> None:
    """From one window none is held back, whatever the stream promised: it is measured on."""
    made = _written(tmp_path, _noise(1), held=3, promised=promised)
    assert (made.apart, made.held) == (False, made.windows)
    assert len(made.windows) == 1


def test_silent_windows_are_refused(tmp_path: Path) -> None:
    """Windows of nothing but zeros have no range; one input of zeros among others is told."""
    silence = [{"x": np.zeros(SHAPE, np.float32)}] * 3
    with pytest.raises(InputError, match="the calibration data is silent"):
        _written(tmp_path, silence)
    nodes = [_conv("x w", "h"), helper.make_node("Add", ["h", "past"], ["y"], name="y")]
    model = graph(nodes, {"x": SHAPE, "past": SHAPE}, {"y": SHAPE}, {"w": KERNEL})
    onnx.save(model, tmp_path / "two.onnx")
    given = [{**window, "past": np.zeros(SHAPE, np.float32)} for window in _noise(3)]
    made = written(tmp_path / "two.onnx", Calibration(3, lambda: given), 0, silent())
    assert "zero in all windows at `past`" in made.notices[0].text


def test_a_window_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    """The error names the input, its shape and that of the graph."""
    with pytest.raises(InputError, match="gives `x` the shape 1×8×31, but the graph takes 1×8×32"):
        _written(tmp_path, [{"x": np.ones((1, 8, 31), np.float32)}])


def test_a_graph_that_overflows_is_refused_by_its_node(tmp_path: Path) -> None:
    """NaN at an output is found on the window that gives it, before NNCF is asked."""
    nodes = [
        helper.make_node("Exp", ["x"], ["huge"], name="exponential"),
        helper.make_node("Sub", ["huge", "huge"], ["y"], name="difference"),
    ]
    onnx.save(graph(nodes, {"x": [4]}, {"y": [4]}, {}), tmp_path / "float.onnx")
    given = [{"x": np.full(4, size, np.float32)} for size in (1, 200)]
    with pytest.raises(StageError, match="first in the tensor `huge`"):
        written(tmp_path / "float.onnx", Calibration(2, lambda: given), 0, silent())


def _pairs(scale: float, *readers: str) -> onnx.ModelProto:
    """Return three Relus in a row; `readers` read through a pair of conversions."""
    nodes, last = [], "x"
    for name in ("a", "b", "c"):
        if name in readers:
            nodes += [
                helper.make_node("QuantizeLinear", [last, "s", "z"], [f"{name}q"], name=f"{name}q"),
                helper.make_node(
                    "DequantizeLinear", [f"{name}q", "s", "z"], [f"{name}d"], name=f"{name}d"
                ),
            ]
            last = f"{name}d"
        nodes.append(helper.make_node("Relu", [last], [name], name=name))
        last = name
    constants = {"s": scale, "z": np.array(0, np.int8)}
    return graph(nodes, {"x": [4]}, {"c": [4]}, constants)


def test_operators_that_lost_their_conversions_were_reverted(tmp_path: Path) -> None:
    """They read integers before, and floats after."""
    onnx.save(_pairs(0.1, "a", "c"), tmp_path / "before.onnx")
    assert reverted(tmp_path / "before.onnx", _pairs(0.1, "c")) == ["a"]


@pytest.mark.parametrize(("scale", "found"), [(0.1, []), (np.inf, ["x"]), (0.0, ["x"])])
def test_a_scale_that_is_no_number_is_found(scale: float, found: list[str]) -> None:
    """Infinite and zero scales are found by the tensor that they belong to."""
    assert endless(_pairs(scale, "a")) == found


def test_the_loss_is_that_of_the_worst_output() -> None:
    """Windows count as one signal; an output that is silent counts as a quiet one."""
    one, off = np.full(10, 1.0), np.full(10, 1.1)
    assert worst_db([[one, one]] * 2, [[one, off]] * 2) == pytest.approx(20)
    silence = np.zeros(10)
    assert worst_db([[one, silence]], [[one, silence]]) == 200
    assert worst_db([[one, silence]], [[one, np.full(10, 1e-3)]]) == pytest.approx(0)


def _said(answer: dict[str, Any], end: ChildEnd, folder: Path) -> str:
    return str(failure_of(answer, end, LIMITS, onnx_artifact(folder)))


ENDED = ChildEnd("exit", 1, "noise\nlast words", 10**9, 1.0)


@pytest.mark.parametrize(
    ("answer", "end", "says"),
    [
        ({}, ChildEnd("timeout", -9, "", 0, 5.0), "longer than 5 s and was stopped"),
        (
            {"error": "E: no", "node": "relu", "operator": "Relu", "raised_in": "nncf/a.py:1"},
            ENDED,
            "fails at Relu `relu`\n  it says: E: no\n  raised in: nncf/a.py:1",
        ),
        ({"error": "RuntimeError: a\nb"}, ENDED, "NNCF does not quantise this graph: RuntimeError"),
        ({"error": "ModuleNotFoundError: x"}, ENDED, "install it: pip install 'luthier[nncf]'"),
        ({}, ChildEnd("exit", -signal.SIGKILL, "", 10**9, 1.0), "killed by the system at 1.0 GB"),
        ({}, ChildEnd("exit", -signal.SIGSEGV, "", 0, 1.0), "(SIGSEGV) without an answer"),
        ({}, ENDED, "(status 1) without an answer"),
    ],
)
def test_every_end_without_a_graph_is_explained(
    answer: dict[str, Any], end: ChildEnd, says: str, tmp_path: Path
) -> None:
    """The message says what happened, and the next step."""
    text = _said(answer, end, tmp_path)
    assert says in text
    assert ("quantizer." in text) or ("install" in text) or ("precision=" in text)


def test_the_node_that_an_error_is_about_is_found(tmp_path: Path) -> None:
    """A node that the text names counts, else the one at hand where the error was raised."""
    source = onnx_artifact(tmp_path)

    def failing(node: onnx.NodeProto, text: str) -> None:
        raise ValueError(f"{text}{node.name if text else ''}")

    nodes = onnx.load(source.path).graph.node
    for text in ("", "failed: "):
        with pytest.raises(ValueError) as caught:  # noqa: PT011  # of any text
            failing(nodes[2], text)
        found = child._node_of(caught.value, source.path)
        assert found == {"node": "conv2", "operator": "Conv"}
    assert child._node_of(ValueError("none"), source.path) == {}


def test_a_graph_that_cannot_run_afterwards_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If NNCF writes a graph that ONNX Runtime does not open, the error has its words."""

    def broken(_: str, request: dict[str, Any], *__: object, **___: object) -> Any:
        model = onnx.load(request["model"])
        model.graph.node[0].op_type = "NoSuchOperator"
        onnx.save(model, request["quantised"])
        return ChildEnd("exit", 0, "", 0, 1.0), {"version": "3.4.0", "warnings": []}

    monkeypatch.setattr(process, "asked_of_child", broken)
    model = graph([_conv("x w", "y")], {"x": SHAPE}, {"y": SHAPE}, {"w": KERNEL})
    with pytest.raises(StageError, match="cannot run the graph that NNCF wrote") as caught:
        lowered(Nncf(Nncf.Options()), model, _noise(8), tmp_path)
    assert "NoSuchOperator" in str(caught.value)


def test_a_graph_that_comes_back_in_float_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If nothing was quantised there is no result; the request asks for what the options say."""
    asked: list[dict[str, Any]] = []

    def idle(_: str, request: dict[str, Any], *__: object, **___: object) -> Any:
        asked.append(json.loads(json.dumps(request)))
        onnx.save(onnx.load(request["model"]), request["quantised"])
        return ChildEnd("exit", 0, "", 0, 1.0), {"version": "3.4.0", "warnings": []}

    monkeypatch.setattr(process, "asked_of_child", idle)
    model = graph([_conv("x w", "y")], {"x": SHAPE}, {"y": SHAPE}, {"w": KERNEL})
    with pytest.raises(StageError, match="the graph has nothing to quantise"):
        lowered(Nncf(Nncf.Options(exclude=["y/*"])), model, _noise(8), tmp_path)
    assert asked[0]["ignored"] == ["y/node"]
    assert asked[0]["options"]["preset"] == "mixed"
    assert len(asked[0]["windows"]) == 8


def test_a_graph_that_lost_its_signal_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A graph far from the float graph has a warning with the SNR; a near one has none."""
    for scale, words in ((0.1, 0), (30.0, 1)):

        def coarse(
            _: str, request: dict[str, Any], *__: object, scale: float = scale, **___: object
        ) -> Any:
            onnx.save(_pairs(scale, "a"), request["quantised"])
            return ChildEnd("exit", 0, "", 0, 1.0), {"version": "3.4.0", "warnings": []}

        monkeypatch.setattr(process, "asked_of_child", coarse)
        given = windows(lambda r: {"x": r.uniform(0, 10, [4])}, 8)
        plain = _pairs(0.1)
        made = lowered(Nncf(Nncf.Options(windows=8)), plain, given, tmp_path / f"{scale}")
        assert len(made.notices) == words
    assert "far from the float graph" in made.notices[0].text
    assert "quantizer.min_snr_db" in made.notices[0].text
    assert made.facts["quantised_nodes"] == 1


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"windows": 0}, "`windows` cannot be 0"),
        ({"held_windows": 0}, "`held_windows` cannot be 0"),
        ({"most_reverted": 0}, "`most_reverted` cannot be 0"),
        ({"min_snr_db": 0.0}, "`min_snr_db` cannot be 0.0"),
        ({"min_snr_db": 121.0}, "up to 120"),
        ({"smooth_quant": 1.5}, "`smooth_quant` cannot be 1.5"),
        ({"time_limit_s": 0.0}, "`time_limit_s` cannot be 0.0"),
    ],
)
def test_options_are_checked(options: dict[str, Any], says: str) -> None:
    """A value out of its range is refused by its name."""
    with pytest.raises(ValueError, match=says):
        Nncf.Options(**options)
