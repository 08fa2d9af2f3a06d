"""Which provider computed each node, from ONNX Runtime's own profile, and what fell back."""

from __future__ import annotations

import warnings
from pathlib import Path

import onnx
import onnxruntime
import pytest

from core import Placed, StageError
from core.conformance.converter import feeds, onnx_artifact
from core.formats import onnx_providers
from core.formats.onnx_placement import NAMED, Executed, executed_in, placement_of, traced
from core.formats.onnx_providers import CPU, GraphOn, missing_library, session_on
from core.formats.onnx_session import session_options
from core.formats.precision_census import precision_by_node

AZURE = "AzureExecutionProvider"
NPU = "some_npu"


@pytest.fixture
def graph(tmp_path: Path) -> Path:
    """Write two convolutions with a ReLU between them."""
    return Path(onnx_artifact(tmp_path / "given").path)


def quantised(graph: Path, bits: int) -> Path:
    """Quantise the activations of the graph to so many bits, and its weights to 8."""
    from onnxruntime.quantization import (
        CalibrationDataReader,
        QuantFormat,
        QuantType,
        quantize_static,
    )

    class Windows(CalibrationDataReader):  # type: ignore[misc]  # a library without types
        def __init__(self) -> None:
            self.left = [feeds(seed) for seed in range(2)]

        def get_next(self) -> object:
            return self.left.pop() if self.left else None

    path = graph.with_name(f"{bits}.onnx")
    kind = {8: QuantType.QUInt8, 16: QuantType.QUInt16}[bits]
    quantize_static(
        str(graph), str(path), Windows(), quant_format=QuantFormat.QDQ, activation_type=kind,
        extra_options={"UseQDQContribOps": True},
    )  # fmt: skip
    return path


def test_a_float_graph_runs_on_the_cpu(graph: Path, tmp_path: Path) -> None:
    """Both convolutions ran in FP32, the ReLU inside the first; the profile is removed."""
    found = traced(GraphOn(graph, session_options), feeds(1), tmp_path)
    assert found.placed == (Placed("CPU", 2, "fp32"),)
    assert (found.left, found.source) == ((), "ONNX Runtime's profile")
    assert [path.name for path in tmp_path.iterdir()] == ["given"]


def test_a_quantised_graph_runs_on_integers(graph: Path, tmp_path: Path) -> None:
    """At 8 bits every node ran on integers; conversions are not counted."""
    found = traced(GraphOn(quantised(graph, 8), session_options), feeds(1), tmp_path)
    assert {one.precision for one in found.placed} == {"int8"}
    assert found.coverage == 1.0


def test_integers_that_the_cpu_computes_in_floats_are_named(graph: Path, tmp_path: Path) -> None:
    """The CPU has no convolution of 16 bits: it computes in FP32, and the result does not tell."""
    found = traced(GraphOn(quantised(graph, 16), session_options), feeds(1), tmp_path)
    assert found.placed == (Placed("CPU", 2, "fp32", asked=False),)
    assert found.left == (("conv0", "Conv"), ("conv2", "Conv"))
    assert found.coverage == 0.0


def test_a_half_graph_that_the_cpu_computes_in_single_is_named(tmp_path: Path) -> None:
    """The CPU has no Erf in FP16: ONNX Runtime puts casts around it, and computes in FP32."""
    half = onnx.TensorProto.FLOAT16
    tensor = onnx.helper.make_tensor_value_info
    made = onnx.helper.make_graph(
        [onnx.helper.make_node("Erf", ["x"], ["y"], name="bend")],
        "one", [tensor("x", half, [4])], [tensor("y", half, [4])],
    )  # fmt: skip
    path = tmp_path / "half.onnx"
    opsets = [onnx.helper.make_opsetid("", 17)]
    onnx.save(onnx.helper.make_model(made, opset_imports=opsets, ir_version=8), path)
    given = {"x": feeds(1)["x"].ravel()[:4].astype("float16")}
    found = traced(GraphOn(path, session_options), given, tmp_path)
    assert found.left == (("bend", "Erf"),)
    assert found.placed == (Placed("CPU", 1, "fp32", asked=False),)


def test_a_provider_that_takes_no_node_is_an_error(graph: Path) -> None:
    """A provider that starts, is listed, and computes nothing has fallen back."""
    with pytest.raises(StageError, match="on Azure: it would fall back to the CPU") as caught:
        session_on(GraphOn(graph, session_options, (AZURE,)))
    assert f"why: `{AZURE}` took no node of the graph" in caught.value.lines
    assert "runtime.allow_fallback=true" in str(caught.value)


def test_a_provider_that_is_not_in_the_build_is_an_error(graph: Path) -> None:
    """A provider that ONNX Runtime was built without is named, with those that it has."""
    with pytest.raises(StageError) as caught:
        session_on(GraphOn(graph, session_options, ("CUDAExecutionProvider",)))
    assert "this build of ONNX Runtime has no `CUDAExecutionProvider`; it has: " in str(
        caught.value
    )


@pytest.mark.parametrize("provider", [AZURE, "CUDAExecutionProvider"])
def test_an_allowed_fallback_is_told(
    provider: str, graph: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """If a fallback is allowed, the graph runs on the CPU, and no node ran as asked."""
    asked = GraphOn(graph, session_options, (provider,), allow_fallback=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        session, reason = session_on(asked)
        found = traced(asked, feeds(1), tmp_path)
    assert session.run(None, feeds(1))[0].shape == (1, 3, 16, 16)
    assert provider in reason
    assert found.placed == (Placed("CPU", 2, "fp32", asked=False),)
    assert {operator for _, operator in found.left} == {"Conv"}
    assert found.coverage == 0.0
    assert capfd.readouterr() == ("", "")


def test_a_provider_that_drops_out_names_the_missing_library(
    graph: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ONNX Runtime drops a provider without its library; the loader says which is missing."""
    known = [*onnxruntime.get_available_providers(), "CUDAExecutionProvider"]
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: known)
    monkeypatch.setattr(onnx_providers, "missing_library", lambda _: "libcudnn.so.9: not found")
    with (
        pytest.warns(UserWarning, match="not in available provider names"),
        pytest.raises(StageError) as caught,
    ):
        session_on(GraphOn(graph, session_options, ("CUDAExecutionProvider",)))
    assert (
        "why: `CUDAExecutionProvider` could not start: libcudnn.so.9: not found"
        in caught.value.lines
    )


def test_an_error_of_a_provider_is_not_caught_by_the_library(
    graph: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """`InferenceSession` would print a provider's error and open the graph on the CPU."""
    real = onnxruntime.InferenceSession._create_inference_session

    def fails(self: object, providers: list[str], *rest: object) -> None:
        if AZURE in (providers or ()):
            raise RuntimeError("[ONNXRuntimeError] : 1 : FAIL : the driver is too old\nstack")
        real(self, providers, *rest)

    monkeypatch.setattr(onnxruntime.InferenceSession, "_create_inference_session", fails)
    with pytest.raises(StageError) as caught:
        session_on(GraphOn(graph, session_options, (AZURE,)))
    assert "why: the driver is too old; stack" in caught.value.lines
    _, reason = session_on(GraphOn(graph, session_options, (AZURE,), allow_fallback=True))
    assert reason == "the driver is too old; stack"
    assert capfd.readouterr() == ("", "")


def test_the_loader_names_what_is_wrong_with_a_library(tmp_path: Path) -> None:
    """The library of the provider is tried, and no other one."""
    for name in ("cuda", "nv_tensorrt_rtx"):
        (tmp_path / f"libonnxruntime_providers_{name}.so").write_text("no library")
    assert "_providers_cuda.so" in missing_library("CUDAExecutionProvider", tmp_path)
    assert "_tensorrt_rtx.so" in missing_library("NvTensorRTRTXExecutionProvider", tmp_path)
    assert missing_library("TensorrtExecutionProvider", tmp_path) == ""


def test_a_piece_that_a_provider_compiled_counts_as_its_nodes(graph: Path) -> None:
    """One node of the profile stands for the nodes that the provider made it of."""
    ran = [
        Executed("npu_123", "npu_123", NPU, "fp32"),
        Executed("softmax", "Softmax", CPU, "fp32"),
        Executed("back", "MemcpyFromHost", NPU, "fp32"),
    ]
    took = {
        NPU: [("conv0", "Conv"), ("x_QuantizeLinear", "QuantizeLinear"), ("relu", "Relu")],
        CPU: [("softmax", "Softmax")],
    }
    asked = GraphOn(graph, session_options, (NPU,), plugged=True, titles={NPU: "an NPU"})
    found = placement_of(asked, ran, took, {})
    assert found.placed == (Placed("an NPU", 2), Placed("CPU", 1, "fp32", asked=False))
    assert found.left == (("softmax", "Softmax"),)
    assert found.coverage == pytest.approx(2 / 3)


def test_nodes_that_a_provider_runs_one_by_one_have_their_precision(graph: Path) -> None:
    """A provider without a compiler has each node in the profile."""
    ran = [Executed("conv0", "Conv", NPU, "fp16"), Executed("relu", "Relu", NPU, "fp16")]
    took = {NPU: [("conv0", "Conv"), ("relu", "Relu")]}
    asked = GraphOn(graph, session_options, (NPU,), plugged=True)
    assert placement_of(asked, ran, took, {"relu": "fp16"}).placed == (Placed(NPU, 2, "fp16"),)
    lowered = placement_of(asked, ran, took, {"conv0": "fp32"})
    assert lowered.left == (("conv0", "Conv"),)


def test_a_few_dozen_nodes_are_named(graph: Path) -> None:
    """All nodes are counted; those beyond a few dozen are not named."""
    ran = [Executed(f"n{n}", "Add", CPU, "fp32") for n in range(100)]
    found = placement_of(GraphOn(graph, session_options, (NPU,)), ran, {}, {})
    assert (found.nodes, len(found.left)) == (100, NAMED)


def test_a_graph_of_conversions_counts_them(graph: Path) -> None:
    """A graph that only converts has nodes, too."""
    ran = [Executed("cast", "Cast", CPU, "fp16")]
    found = placement_of(GraphOn(graph, session_options), ran, {}, {})
    assert found.placed == (Placed("CPU", 1, "fp16"),)


def test_a_node_in_a_loop_counts_once() -> None:
    """A profile has an event for each turn of a loop, and events that are no nodes."""
    args = {
        "op_name": "Add", "provider": CPU, "node_index": "3",
        "input_type_shape": [{"float": [1]}], "output_type_shape": [{"float16": [1]}],
    }  # fmt: skip
    events = [
        {"cat": "Session", "name": "model_run"},
        {"cat": "Node", "name": "add_fence_before", "args": args},
        *[{"cat": "Node", "name": "add_kernel_time", "args": args}] * 3,
    ]
    assert executed_in(events) == [Executed("add", "Add", CPU, "fp16")]


def test_the_precision_of_a_node_is_found_by_its_outputs_too(graph: Path) -> None:
    """Exporters leave names of nodes empty; the names of tensors are always there."""
    model = onnx.load(quantised(graph, 8))
    found = precision_by_node(model)
    assert found["conv0"] == "w8a8"
    conv = next(node for node in model.graph.node if node.name == "conv0")
    assert found[conv.output[0]] == "w8a8"


def test_a_type_that_cannot_be_inferred_is_not_guessed() -> None:
    """Behind an operator of a library nobody knows the type, so nothing is expected of a node."""
    tensor, half = onnx.helper.make_tensor_value_info, onnx.TensorProto.FLOAT16
    nodes = [
        onnx.helper.make_node("Warble", ["x"], ["a"], name="odd", domain="some.where"),
        onnx.helper.make_node("Relu", ["a"], ["b"], name="behind"),
        onnx.helper.make_node("Relu", ["b"], ["y"], name="last"),
    ]
    graph = onnx.helper.make_graph(nodes, "one", [tensor("x", half, [2])], [tensor("y", half, [2])])
    opsets = [onnx.helper.make_opsetid("", 17), onnx.helper.make_opsetid("some.where", 1)]
    model = onnx.helper.make_model(graph, opset_imports=opsets, ir_version=8)
    assert precision_by_node(model) == {"last": "fp16", "y": "fp16"}
