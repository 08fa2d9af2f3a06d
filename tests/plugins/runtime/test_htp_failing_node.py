"""The failing node of a graph is found, with an invented and with Qualcomm's compiler."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from core import DoesNotFitError, StageContext
from core.conformance.converter import onnx_artifact
from core.plugin.progress import silent
from plugins.runtime._htp import message
from plugins.runtime._htp.failing_node import find_failing_node
from plugins.runtime._htp.failure import QnnFailure
from plugins.runtime._htp.library import available
from plugins.runtime._htp.parts import Parts
from plugins.runtime._htp.process import HtpDevice, Limits
from plugins.runtime.qnn import Qnn, QnnOptions

needs_qnn = pytest.mark.skipif(available() is not None, reason=str(available()))
QUANTISED = ("QuantizeLinear", "DequantizeLinear")


def chain(path: Path, count: int) -> Path:
    """Write `count` nodes in a row; each also reads the first node's result."""
    nodes = [helper.make_node("Relu", ["x"], ["t0"], name="n0")]
    nodes += [
        helper.make_node("Add", [f"t{i - 1}", "t0"], [f"t{i}"], name=f"n{i}")
        for i in range(1, count)
    ]
    return write(path, nodes, {"x": [1, 2, 1, 16]}, {f"t{count - 1}": [1, 2, 1, 16]})


def write(
    path: Path,
    nodes: list[onnx.NodeProto],
    inputs: dict[str, list[int]],
    outputs: dict[str, list[int]],
    weights: list[onnx.TensorProto] | None = None,
) -> Path:
    """Write a float graph as an ONNX file."""
    ends = [
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, shape) for n, shape in group.items()]
        for group in (inputs, outputs)
    ]
    graph = helper.make_graph(nodes, "graph", *ends, weights or [])
    opset = [helper.make_opsetid("", 20)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=10), path)
    return path


def holds(name: str, parts: list[int] | None = None) -> Callable[[Path, float], bool | None]:
    """Return a compiler that fails for every graph with the node `name`."""

    def fails(part: Path, _: float) -> bool | None:
        model = onnx.load(str(part))
        onnx.checker.check_model(model, full_check=True)
        if parts is not None:
            parts.append(len(model.graph.node))
        return any(node.name == name for node in model.graph.node)

    return fails


@pytest.mark.parametrize("index", [0, 1, 7, 18, 19])
def test_the_node_is_found_wherever_it_stands(tmp_path: Path, index: int) -> None:
    """The failing node is found at any place in at most ten trial graphs.

    The last node that compiles is named too.
    """
    parts: list[int] = []
    found = find_failing_node(
        chain(tmp_path / "m.onnx", 20), holds(f"n{index}", parts), tmp_path, 60
    )
    assert found is not None
    assert (found.place.node, found.exact, found.alone) == (f"n{index}", True, True)
    assert found.after is None if index == 0 else found.after.node == f"n{index - 1}"
    assert len(parts) == found.parts <= 10
    assert parts[0] == 1, "short parts come first"


def test_what_is_too_much_together_is_told_from_one_node(tmp_path: Path) -> None:
    """A graph that fails by its size alone is told apart from a node that fails by itself."""

    def fails(part: Path, _: float) -> bool:
        return len(onnx.load(str(part)).graph.node) >= 12

    found = find_failing_node(chain(tmp_path / "m.onnx", 20), fails, tmp_path, 60)
    assert found is not None
    assert (found.place.node, found.alone) == ("n11", False)
    assert "by itself it has a place" in "\n".join(found.lines())


def test_when_the_time_is_over_the_bounds_are_told(tmp_path: Path) -> None:
    """When the time is over, the message has the bounds of the search so far, and no more."""
    tried = 0

    def fails(part: Path, _: float) -> bool | None:
        nonlocal tried
        tried += 1
        return None if tried > 3 else any(n.name == "n15" for n in onnx.load(part).graph.node)

    found = find_failing_node(chain(tmp_path / "m.onnx", 20), fails, tmp_path, 60)
    assert found is not None
    assert not found.exact
    text = "\n".join(found.lines())
    assert "the first node without a place is this or an earlier one: Add `n19`" in text
    assert "the graph compiles up to Add `n6`" in text
    assert "the time limit ended the search" in text


def quantised(path: Path) -> Path:
    """Write a convolution and a ReLU between quantisers, the last of which have 16 bits."""
    weight = np.ones((2, 2, 1, 1), np.int8)
    weights = [numpy_helper.from_array(weight, "w"), numpy_helper.from_array(np.float32(0.1), "s")]
    weights += [
        numpy_helper.from_array(np.array(0, kind), name)
        for name, kind in (("z8", np.uint8), ("z16", np.uint16), ("zw", np.int8))
    ]

    def node(operator: str, reads: str, makes: str, zero: str) -> onnx.NodeProto:
        return helper.make_node(
            operator, [reads, "s", zero], [makes], name=makes, domain="com.microsoft"
        )

    quantise, dequantise = QUANTISED
    nodes = [
        node(quantise, "x", "xq", "z8"), node(dequantise, "xq", "xd", "z8"),
        node(dequantise, "w", "wd", "zw"),
        helper.make_node("Conv", ["xd", "wd"], ["c"], name="conv"),
        node(quantise, "c", "cq", "z8"), node(dequantise, "cq", "cd", "z8"),
        helper.make_node("Relu", ["cd"], ["r"], name="relu"),
        node(quantise, "r", "rq", "z16"), node(dequantise, "rq", "y", "z16"),
    ]  # fmt: skip
    shape = [1, 2, 1, 8]
    write(path, nodes, {"x": shape}, {"y": shape}, weights)
    model = onnx.load(str(path))
    model.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    onnx.save(model, path)
    return path


def test_a_quantised_graph_is_cut_behind_its_quantisers(tmp_path: Path) -> None:
    """A quantised graph is cut behind its quantisers, so a part ends in integers.

    The place of a cut is the operator before the quantiser.
    """
    parts = Parts(quantised(tmp_path / "m.onnx"))
    assert [(p.node, p.dtype, p.shape) for p in parts.places] == [
        ("conv", "uint8", (1, 2, 1, 8)),
        ("relu", "uint16", (1, 2, 1, 8)),
    ]
    upto, alone = parts.up_to(parts.places[0]), parts.alone(parts.places[1])
    assert [n.name for n in upto.graph.node] == ["xq", "xd", "wd", "conv", "cq"]
    assert [v.name for v in upto.graph.output] == ["cq"]
    assert [n.name for n in alone.graph.node] == ["cd", "relu", "rq"]
    assert [v.name for v in alone.graph.input] == ["cq"]


def test_a_graph_out_of_order_is_put_in_order(tmp_path: Path) -> None:
    """Nodes out of order, as ONNX Runtime's quantiser leaves them, are sorted."""
    model = onnx.load(str(chain(tmp_path / "m.onnx", 5)))
    nodes = list(model.graph.node)
    del model.graph.node[:]
    model.graph.node.extend([nodes[4], *nodes[:4]])
    onnx.save(model, tmp_path / "m.onnx")
    places = Parts(tmp_path / "m.onnx").places
    assert [place.node for place in places] == ["n0", "n1", "n2", "n3", "n4"]


def test_a_crash_is_traced_to_its_node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If the vendor's library crashes, the node that causes the crash is named."""
    crash = QnnFailure("compiling `m.onnx` crashed", "try another form", "", "crash")

    def compiled(model: Path, *_: object, **__: object) -> None:
        if any(node.name == "n3" for node in onnx.load(str(model)).graph.node):
            raise crash

    monkeypatch.setattr(message, "compile_context", compiled)
    source = chain(tmp_path / "m.onnx", 8)
    attempt = message.Attempt(source, tmp_path, HtpDevice(), Limits(), silent())
    error = message.stage_error(crash, attempt, 60)
    assert isinstance(error, DoesNotFitError)
    assert error.cause == "compiler crashed"
    assert "the first node without a place: Add `n3`" in str(error)
    assert [p.name for p in tmp_path.iterdir()] == ["m.onnx"]


def test_a_graph_that_cannot_be_cut_still_gets_its_verdict(tmp_path: Path) -> None:
    """If the search for the node fails, the original error stays, with one line on the search."""
    (tmp_path / "m.onnx").write_bytes(b"no graph")
    attempt = message.Attempt(tmp_path / "m.onnx", tmp_path, HtpDevice(), Limits(), silent())
    failure = QnnFailure("the graph does not fit", "shorten it", "", "device_memory")
    error = message.stage_error(failure, attempt, 60)
    assert error.what == "the graph does not fit"
    assert "the node was not found: DecodeError" in str(error)
    assert "shorten it" in str(error)


def too_wide(path: Path) -> None:
    """Write a ReLU that compiles, beside a convolution of 4 million samples that does not."""
    kernel = np.random.default_rng(0).normal(size=(8, 8, 1, 3)).astype(np.float32)
    nodes = [
        helper.make_node("Relu", ["x"], ["small"], name="small"),
        helper.make_node("Conv", ["long", "w"], ["wide"], pads=[0, 1, 0, 1], name="wide"),
    ]
    size = [1, 8, 1, 4_000_000]
    write(
        path,
        nodes,
        {"x": [1, 8, 1, 64], "long": size},
        {"small": [1, 8, 1, 64], "wide": size},
        [numpy_helper.from_array(kernel, "w")],
    )


@needs_qnn
def test_the_compiler_finds_no_place_for_a_node_and_it_is_named(tmp_path: Path) -> None:
    """QNN's real error 1002 names the node, operator, shape and size, and leaves no file behind."""
    work = StageContext(tmp_path / "work", silent())
    work.folder.mkdir()
    artifact = onnx_artifact(tmp_path / "given")
    too_wide(Path(artifact.path))
    with pytest.raises(DoesNotFitError, match="QNN error 1002") as error:
        Qnn(QnnOptions(soc_model=57, htp_arch=75)).compile(artifact, work)
    told = str(error.value)
    assert "the first node without a place: Conv `wide`, float32 (1, 8, 1, 4000000)" in told
    assert "128.0 MB at its largest" in told
    assert "by itself it has no place either" in told
    assert (error.value.cause, error.value.cacheable) == ("device memory", True)
    assert list(work.folder.iterdir()) == []


@needs_qnn
def test_without_time_for_it_no_node_is_looked_for(tmp_path: Path) -> None:
    """With `blame_limit_s=0` the error stands alone, without a search for the node."""
    work = StageContext(tmp_path / "work", silent())
    work.folder.mkdir()
    artifact = onnx_artifact(tmp_path / "given")
    too_wide(Path(artifact.path))
    with pytest.raises(DoesNotFitError) as error:
        Qnn(QnnOptions(soc_model=57, htp_arch=75, blame_limit_s=0)).compile(artifact, work)
    assert "first node" not in str(error.value)
