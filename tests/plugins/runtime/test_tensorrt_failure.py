"""Every way in which building an engine can fail ends in an error that says what to do."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from core import DoesNotFitError
from core.conformance.converter import onnx_artifact
from core.machine.child_process import ChildEnd, Limits
from plugins.runtime._tensorrt.failure import failure_of
from plugins.runtime._tensorrt.library import FLAVOURS, Flavour

LIMITS = Limits(10.0, 2 * 10**9)


def said(answer: dict[str, Any], model: Path, end: ChildEnd | None = None) -> str:
    """Return the message for a child that left this answer."""
    end = end or ChildEnd("exit", 1, "last words", 10**9, 1.0)
    return str(failure_of(answer, end, LIMITS, FLAVOURS[Flavour.rtx], model))


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """Return the path of two convolutions."""
    return Path(onnx_artifact(tmp_path).path)


def test_an_operator_that_is_not_taken_is_named_with_its_place(model: Path) -> None:
    """The message has the operator, the node, its number, and the library's own reason."""
    error = {"why": "Plugin not found", "index": 1, "node": "relu", "operator": "Relu"}
    other = {"why": "nor this", "index": 2, "node": "conv2", "operator": "Conv"}
    text = said({"parser": [error, other]}, model)
    assert "does not take Relu `relu`: Plugin not found" in text
    assert "node 2 of 3" in text
    assert "also: Conv `conv2`: nor this" in text
    assert "no graph plugin in the box replaces it" in text


def test_a_node_without_a_name_is_found_by_its_number(model: Path) -> None:
    """Its output stands for its name; an error without a node says so."""
    error = {"why": "no", "index": 1, "node": "", "operator": ""}
    assert "does not take Relu `r`: no" in said({"parser": [error]}, model)
    none = said({"parser": [{**error, "index": -1}]}, model)
    assert "does not take the graph: no" in none
    assert "no node is named" in none


def test_a_constant_is_left_to_onnxsim(tmp_path: Path) -> None:
    """A graph plugin that makes the node legal is named: onnxsim folds what is constant."""
    graph = helper.make_graph(
        [
            helper.make_node("Det", ["w"], ["d"], "det"),
            helper.make_node("Add", ["x", "d"], ["y"], "add"),
        ],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, (1,))],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, (1,))],
        [numpy_helper.from_array(__import__("numpy").eye(3, dtype="float32"), "w")],
    )
    onnx.save(helper.make_model(graph), tmp_path / "m.onnx")
    error = {"why": "false", "index": 0, "node": "det", "operator": "Det"}
    assert "graph=[onnxsim]" in said({"parser": [error]}, tmp_path / "m.onnx")
    later = said({"parser": [{**error, "index": 1, "operator": "Add"}]}, tmp_path / "m.onnx")
    assert "graph=[onnxsim]" not in later


#: Messages of TensorRT-RTX 1.7.1.116.
TYPES = (
    "IBuilder::buildSerializedNetwork: Error Code 1: Myelin ([pass.cpp:1500: run_passes] Cannot "
    "compile for target(s) sm75, because the model contains HW-specific datatypes: b16. In "
    "compileGraph at /_src/optimizer/myelin/codeGenerator.cpp:2012)"
)
KERNEL = (
    "IBuilder::buildSerializedNetwork: Error Code 1: Myelin ([myelin_graph.h:1295: "
    "attachExceptionMsgToGraph] MyelinCheckException: graph_jit.cpp:278: CHECK(status == "
    "CUDA_SUCCESS) failed.  In compileGraph at /_src/optimizer/myelin/codeGenerator.cpp:2012)"
)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ({"build": [TYPES]}, "cannot build for sm75: its GPUs have no type `b16`"),
        ({"build": [KERNEL]}, "needs a GPU to build this engine"),
        ({"build": ["IBuilder::x: Error Code 4: odd thing", "more"]}, "the engine: odd thing"),
        ({"error": "ImportError: no lib"}, "pip install tensorrt-rtx-cu12"),
        ({"error": "ValueError: odd"}, "failed: ValueError: odd"),
    ],
)
def test_the_librarys_reason_is_in_words(
    answer: dict[str, Any], expected: str, model: Path
) -> None:
    """Known reasons are explained; others are quoted without the place in C++."""
    text = said(answer, model)
    assert expected in text
    assert "/_src/" not in text


@pytest.mark.parametrize(
    ("end", "expected"),
    [
        (ChildEnd("timeout", -9, "", 10**9, 10.0), "took longer than 10 s"),
        (ChildEnd("memory", -9, "", 3 * 10**9, 1.0), "needed 3.0 GB of memory here; the limit is"),
        (ChildEnd("exit", -signal.SIGKILL, "", 10**9, 1.0), "killed by the system at 1.0 GB"),
    ],
)
def test_a_limit_is_a_verdict(end: ChildEnd, expected: str, model: Path) -> None:
    """What ran out is a DoesNotFitError, which the store keeps unless the system killed it."""
    error = failure_of({}, end, LIMITS, FLAVOURS[Flavour.rtx], model)
    assert isinstance(error, DoesNotFitError)
    assert expected in str(error)
    assert error.cacheable == (end.cause != "exit")


def test_a_crash_shows_the_last_words(model: Path) -> None:
    """The signal, and what the library wrote before it."""
    text = said({}, model, ChildEnd("exit", -signal.SIGSEGV, "a\n\nlast words", 1, 1.0))
    assert "crashed while it built the engine (SIGSEGV)" in text
    assert "last words" in text
    assert "(status 3)" in said({}, model, ChildEnd("exit", 3, "", 1, 1.0))
