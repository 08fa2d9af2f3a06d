"""The runtime `openvino`, on this machine's processor."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from core import Artifact, Session, StageError, TorchModel
from core.conformance import RuntimeSuite
from core.formats.onnx_graph import save
from core.measure.metrics import snr_db
from core.plugin.values import Tensors
from plugins.runtime._openvino.machine import Choice, Float, Found, Kernels, choose, why_inexact
from plugins.runtime._openvino.repeats import check_repeats, windows_for
from plugins.runtime.openvino import IR, OpenVino
from tests.optional import needs
from tests.plugins.networks import artifact, exported, feeds, hybrid, outputs, separator, work_in

pytestmark = needs("openvino")


def _no_model() -> TorchModel:
    raise AssertionError("an ONNX graph is played without the torch module")


def _converted(made: Artifact, folder: Path, **options: Any) -> Artifact:
    result = OpenVino(OpenVino.Options(**options)).compile(made, work_in(folder))
    return artifact(result, made.info)


def _opened(made: Artifact, folder: Path, **options: Any) -> Session:
    runtime = OpenVino(OpenVino.Options(**options))
    return runtime.open(_converted(made, folder / "ir"), _no_model, work_in(folder / "work"))


def _graph(folder: Path, *nodes: onnx.NodeProto, **domains: int) -> Artifact:
    """Write a graph of these nodes from `x` to `y` over the export of a small network."""
    made = exported(separator(), folder)
    tensor = helper.make_tensor_value_info
    graph = helper.make_graph(
        [*nodes], "one", [tensor("x", TensorProto.FLOAT, [1, 2])],
        [tensor("y", TensorProto.FLOAT, None)],
    )  # fmt: skip
    opsets = [helper.make_opsetid("", 17), *(helper.make_opsetid(*d) for d in domains.items())]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), made.path)
    return made


class TestOpenVino(RuntimeSuite):
    """`openvino` keeps every runtime's contract; in f32 it is as exact as any."""

    plugin = OpenVino
    agreement_db = 110.0


def test_the_graph_plays_by_name(tmp_path: Path) -> None:
    """Inputs and outputs go by name, and the label names version, type and processor."""
    model = hybrid()
    given = feeds(model)
    with _opened(exported(model, tmp_path / "export"), tmp_path, threads=1) as session:
        actual = session.run(given)
        assert session.device.startswith("CPU (OpenVINO 20")
        assert ", f32, " in session.device
        assert session.facts["openvino_threads"] == 1
        assert session.facts["openvino_precision"] == "f32"
    for name, expected in outputs(model, given).items():
        assert snr_db(expected, actual[name]) > 110


def test_an_output_that_is_the_input_of_another_keeps_its_name(tmp_path: Path) -> None:
    """Outputs that OpenVINO merges into one tensor keep the graph's names and order."""
    made = _graph(
        tmp_path / "export",
        helper.make_node("Abs", ["x"], ["k"]),
        helper.make_node("Identity", ["k"], ["y"]),
    )
    with _opened(made, tmp_path) as session:
        assert list(session.run({"x": np.float32([[-1, 2]])})) == ["y"]


def test_weights_keep_their_type(tmp_path: Path) -> None:
    """OpenVINO's default would round every weight to FP16 when it writes them."""
    made = exported(separator(), tmp_path / "export")
    after = _converted(made, tmp_path / "ir")
    weights = sum(
        4 * int(np.prod(tensor.dims)) for tensor in onnx.load(made.path).graph.initializer
    )
    assert (after.format, after.precision) == (IR, "fp32")
    assert Path(after.path).with_suffix(".bin").stat().st_size > 0.9 * weights


def test_equal_graphs_give_equal_files(tmp_path: Path) -> None:
    """A second conversion in the same process gives the same bytes."""
    made = exported(separator(), tmp_path / "export")
    first, second = (_converted(made, tmp_path / name) for name in ("first", "second"))
    assert first.sha256 == second.sha256


def test_a_graph_as_onnx_is_opened_too(tmp_path: Path) -> None:
    """`open` takes the input of `compile` as well."""
    model = separator()
    given = feeds(model)
    made = exported(model, tmp_path / "export")
    with OpenVino(OpenVino.Options()).open(made, _no_model, work_in(tmp_path / "w")) as session:
        actual = session.run(given)
    assert snr_db(outputs(model, given)["stems"], actual["stems"]) > 110


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"device": "AUTO"}, "chooses devices itself"),
        ({"device": "HETERO:GPU,CPU"}, "chooses devices itself"),
        ({"device": "gpu"}, "it is CPU, GPU, NPU"),
        ({"threads": -1}, "`threads` cannot be -1"),
    ],
)
def test_options_are_checked(settings: dict[str, Any], says: str) -> None:
    """A device that chooses by itself, a wrong name and negative threads are refused."""
    with pytest.raises(ValueError, match=says):
        OpenVino.Options(**settings)


def test_an_operator_that_is_missing_is_named_with_its_node(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """A missing operator is named with its nodes, and OpenVINO prints nothing."""
    made = _graph(
        tmp_path / "export",
        helper.make_node("Abs", ["x"], ["a"]),
        helper.make_node("Warble", ["a"], ["b"], name="encoder/warble"),
        helper.make_node("Warble", ["b"], ["y"]),
    )
    with pytest.raises(StageError, match="has no operator `Warble`") as caught:
        _converted(made, tmp_path / "ir")
    assert "Warble: encoder/warble" in caught.value.lines
    assert "Warble: the node that gives y" in caught.value.lines
    assert ".cpp" not in str(caught.value)
    assert capfd.readouterr() == ("", "")


def test_an_operator_of_a_strange_domain_is_named(tmp_path: Path) -> None:
    """An operator of another domain is found by its full name."""
    node = helper.make_node("Warble", ["x"], ["y"], name="last", domain="some.where")
    made = _graph(tmp_path / "export", node, **{"some.where": 1})
    with pytest.raises(StageError, match=r"has no operator `some\.where\.Warble`") as caught:
        _converted(made, tmp_path / "ir")
    assert "Warble: last" in caught.value.lines


def test_a_node_that_does_not_fit_is_named(tmp_path: Path) -> None:
    """Shapes that do not fit are an error with the operator and the tensor."""
    made = _graph(tmp_path / "export", helper.make_node("MatMul", ["x", "x"], ["y"]))
    with pytest.raises(StageError, match="cannot read the graph at the MatMul that gives `y`") as c:
        _converted(made, tmp_path / "ir")
    assert "Incompatible MatMul matrix dimension" in str(c.value)


def test_a_file_that_is_no_graph_ends_in_one_message(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """A file that is no graph is refused before OpenVINO's other readers print about it."""
    made = exported(separator(), tmp_path / "export")
    Path(made.path).write_bytes(b"not a graph")
    with pytest.raises(StageError, match=r"`model\.onnx` is no ONNX graph"):
        _converted(made, tmp_path / "ir")
    assert capfd.readouterr() == ("", "")


def test_nothing_is_cast_in_silence(tmp_path: Path) -> None:
    """An input in float64, which OpenVINO would cast, is an error that shows both types."""
    model = separator()
    given = {"mix": feeds(model)["mix"].astype(np.float64)}
    with (
        _opened(exported(model, tmp_path / "export"), tmp_path) as session,
        pytest.raises(StageError, match="cannot run the graph on these inputs") as caught,
    ):
        session.run(given)
    assert "given: mix float64 1×2×512" in caught.value.lines
    assert "the graph takes: mix float32 [1,2,512]" in caught.value.lines


def test_another_length_is_an_error(tmp_path: Path) -> None:
    """A window of another length than the graph's is an error."""
    model = separator()
    with (
        _opened(exported(model, tmp_path / "export"), tmp_path) as session,
        pytest.raises(StageError, match="given: mix float32 1×2×256"),
    ):
        session.run(feeds(model, samples=256))


def test_a_missing_input_is_named(tmp_path: Path) -> None:
    """A missing input, as from another model's dsp, is an error that names the input."""
    model = hybrid()
    with (
        _opened(exported(model, tmp_path / "export"), tmp_path) as session,
        pytest.raises(StageError, match="needs the input `mag`"),
    ):
        session.run({"mix": feeds(model)["mix"]})


def test_a_device_that_is_missing_is_an_error(tmp_path: Path) -> None:
    """A missing device is named together with the devices that there are."""
    runtime = OpenVino(OpenVino.Options(device="GPU.9"))
    assert "OpenVINO finds no GPU.9 on this machine, which has CPU (" in runtime.unopenable()
    with pytest.raises(StageError, match=r"finds no GPU\.9") as caught:
        _opened(exported(separator(), tmp_path / "export"), tmp_path, device="GPU.9")
    assert "runtime.device=CPU" in str(caught.value)
    assert runtime.machine() == {"device": "no GPU.9"}


def test_the_cpu_takes_over_only_if_allowed(tmp_path: Path) -> None:
    """With `allow_fallback` the CPU computes, and label, facts and placement say so."""
    given = exported(separator(), tmp_path / "export")
    with _opened(given, tmp_path, device="GPU.9", allow_fallback=True) as session:
        session.run(feeds(separator()))
        assert session.device.startswith("CPU (")
        assert "finds no GPU.9" in str(session.facts["instead_of_what_was_asked"])
    assert not OpenVino(OpenVino.Options(device="GPU.9", allow_fallback=True)).unopenable()


@pytest.fixture
def plain_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the machine have a processor that computes in float32 only."""
    found = {"CPU": Found("a processor", ("FP32", "INT8"))}
    monkeypatch.setattr("plugins.runtime._openvino.machine.devices", lambda: found)


@pytest.mark.usefixtures("plain_processor")
def test_a_type_that_the_processor_lacks_is_an_error(tmp_path: Path) -> None:
    """OpenVINO computes in float32 without a word where bfloat16 is missing."""
    said = "CPU (a processor) does not compute in bf16, but in f32"
    options = {"precision": Float.bf16}
    assert OpenVino(OpenVino.Options(**options)).unopenable() == said
    with pytest.raises(StageError, match="does not compute in bf16"):
        _opened(exported(separator(), tmp_path / "export"), tmp_path, **options)
    assert choose("CPU", Float.bf16) == Choice("CPU", Float.f32, (said,))


@pytest.mark.usefixtures("plain_processor")
def test_a_type_gives_way_only_if_allowed(tmp_path: Path) -> None:
    """With `allow_fallback` float32 computes, and the label says f32."""
    given = exported(separator(), tmp_path / "export")
    with _opened(given, tmp_path, precision=Float.bf16, allow_fallback=True) as session:
        assert ", f32, " in session.device
        assert session.facts["openvino_precision"] == "f32"


def test_a_type_that_openvino_does_not_keep_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The compiled model's own word counts, whatever the device claims to be able to."""
    able = {"CPU": Found("a processor", ("FP32", "BF16", "FP16"))}
    monkeypatch.setattr("plugins.runtime._openvino.machine.devices", lambda: able)
    from plugins.runtime._openvino.machine import library

    real = library().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    if "BF16" in real:
        pytest.skip("this processor computes in bfloat16")
    with pytest.raises(StageError, match="computes in f32 on CPU, although it was told bf16"):
        _opened(exported(separator(), tmp_path / "export"), tmp_path, precision=Float.bf16)


def test_the_machine_is_part_of_the_key() -> None:
    """The processor's name, abilities and features are facts of the machine."""
    facts = OpenVino(OpenVino.Options()).machine()
    assert set(facts) == {"device", "able", "processor"}
    assert "FP32" in facts["able"]  # type: ignore[operator]  # a list


def test_the_doctor_lists_devices() -> None:
    """`mode=doctor` says which devices there are, and in what they compute."""
    said = [notice.text for notice in OpenVino.findings()]
    assert any(text.startswith("CPU: ") and "computes in f32" in text for text in said)


@pytest.mark.parametrize(
    ("options", "before", "after"),
    [
        ({}, "fp32", "fp32"),
        ({"precision": Float.bf16}, "fp32", "bf16"),
        ({"precision": Float.f16}, "fp32", "fp16"),
        ({"precision": Float.bf16}, "int8", "int8"),
    ],
)
def test_the_plan_names_what_computes(options: dict[str, Any], before: str, after: str) -> None:
    """A float graph has the precision that computes it; a quantised one keeps its name."""
    from core import ArtifactSpec

    made = OpenVino(OpenVino.Options(**options)).plan(ArtifactSpec("onnx", before))
    assert made == ArtifactSpec(IR, after)


def _loud(folder: Path, activation: type[np.generic]) -> tuple[Artifact, Tensors, np.ndarray]:
    """Write a quantised convolution of loud sums; return it, a window, and the exact result."""
    channels, top = 64, np.iinfo(activation).max
    make = helper.make_node
    constants = {
        "s": np.float32(1 / top), "z": activation(0), "ws": np.float32(0.001), "wz": np.int8(0),
        "w": np.full((channels, channels, 1, 1), 120, np.int8),
        "s2": np.float32(120 * 0.001 * channels / top),
    }  # fmt: skip
    graph = helper.make_graph(
        [
            make("QuantizeLinear", ["x", "s", "z"], ["xq"]),
            make("DequantizeLinear", ["xq", "s", "z"], ["xd"]),
            make("DequantizeLinear", ["w", "ws", "wz"], ["wd"]),
            make("Conv", ["xd", "wd"], ["c"], name="conv"),
            make("QuantizeLinear", ["c", "s2", "z"], ["yq"]),
            make("DequantizeLinear", ["yq", "s2", "z"], ["y"]),
        ],
        "loud",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, channels, 8, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, channels, 8, 8])],
        [numpy_helper.from_array(np.asarray(a), name) for name, a in constants.items()],
    )
    made = exported(separator(), folder)
    opsets = [helper.make_opsetid("", 21)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=10), made.path)
    x = np.random.default_rng(1).uniform(0.5, 1, (1, channels, 8, 8)).astype(np.float32)
    rounded = np.round(x * top) / top
    exact = np.broadcast_to(rounded.sum(1, keepdims=True) * 0.12, x.shape)
    return made, {"x": x}, exact


def test_quantised_sums_are_exact(tmp_path: Path) -> None:
    """Sums that saturate on x86 without VNNI are right, by kernels or in floats."""
    made, given, exact = _loud(tmp_path / "export", np.uint8)
    with _opened(made, tmp_path) as session:
        assert snr_db(exact, session.run(given)["y"]) > 45  # the rounding of the result
        inexact = why_inexact("CPU")
        assert ("INT8 simulated" in session.device) == bool(inexact)
        assert session.facts.get("int8_simulated_because", "") == inexact


def test_kernels_can_be_simulated_on_every_processor(tmp_path: Path) -> None:
    """With `kernels` simulated the label says so, and a float graph's label does not."""
    made, given, exact = _loud(tmp_path / "export", np.uint8)
    with _opened(made, tmp_path / "loud", kernels=Kernels.simulated) as session:
        assert snr_db(exact, session.run(given)["y"]) > 45
        assert session.facts["int8_simulated_because"]
    plain = exported(separator(), tmp_path / "plain")
    with _opened(plain, tmp_path / "float", kernels=Kernels.simulated) as session:
        assert "INT8" not in session.device


def test_kernels_that_saturate_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`kernels` int8 on a processor without VNNI is an error with what to do."""
    monkeypatch.setattr("plugins.runtime._openvino.machine.processor", lambda: ("avx2",))
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    made, _, _ = _loud(tmp_path / "export", np.uint8)
    with pytest.raises(StageError, match="this processor has no VNNI") as caught:
        _opened(made, tmp_path, kernels=Kernels.int8)
    assert "runtime.kernels=simulated" in str(caught.value)


def _transposed(folder: Path) -> Artifact:
    """Write a convolution of size 1 behind a transposition, its weights of 8 bits, its input 16."""
    make, tensor = helper.make_node, helper.make_tensor_value_info
    constants = {
        "s": np.float32(1 / 65535), "z": np.uint16(0), "ws": np.full(32, 0.01, np.float32),
        "wz": np.zeros(32, np.int8), "w": np.ones((32, 16, 1, 1), np.int8),
        "b": np.ones(32, np.float32),
    }  # fmt: skip
    graph = helper.make_graph(
        [
            make("QuantizeLinear", ["x", "s", "z"], ["xq"]),
            make("DequantizeLinear", ["xq", "s", "z"], ["xd"]),
            make("Transpose", ["xd"], ["t"], perm=[0, 2, 1, 3]),
            make("DequantizeLinear", ["w", "ws", "wz"], ["wd"], axis=0),
            make("Conv", ["t", "wd", "b"], ["y"], name="/encoder/rewrite/Conv"),
        ],
        "transposed",
        [tensor("x", TensorProto.FLOAT, [1, 12, 16, 7])],
        [tensor("y", TensorProto.FLOAT, [1, 32, 12, 7])],
        [numpy_helper.from_array(np.asarray(a), name) for name, a in constants.items()],
    )
    made = exported(separator(), folder)
    opsets = [helper.make_opsetid("", 21)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=10), made.path)
    return made


def test_a_graph_that_does_not_compile_names_its_node(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A step of OpenVINO's own that fails is named, with its node and what to do."""
    monkeypatch.setattr("plugins.runtime._openvino.machine.processor", lambda: ("avx512_vnni",))
    with pytest.raises(StageError, match="does not compile the graph for CPU") as caught:
        _opened(_transposed(tmp_path / "export"), tmp_path)
    assert "fails at the Convolution `/encoder/rewrite/Conv`" in caught.value.what
    assert "runtime.kernels=simulated" in str(caught.value)
    assert ".cpp" not in str(caught.value)


def test_a_graph_that_does_not_compile_for_integers_plays_in_floats(tmp_path: Path) -> None:
    """Weights that OpenVINO cannot take as integers are unpacked where floats compute."""
    given = {"x": np.random.default_rng(0).uniform(0, 1, (1, 12, 16, 7)).astype(np.float32)}
    made = _transposed(tmp_path / "export")
    with _opened(made, tmp_path, kernels=Kernels.simulated) as session:
        actual = session.run(given)["y"]
    sums = given["x"].transpose(0, 2, 1, 3).sum(1, keepdims=True) * 0.01 + 1
    assert snr_db(np.broadcast_to(sums, actual.shape), actual) > 90


def test_the_trace_counts_every_node_and_its_type(tmp_path: Path) -> None:
    """Two fused convolutions in FP32 are as asked; in float32 where bf16 was asked, none is."""
    from core.conformance.converter import feeds as small
    from core.conformance.converter import onnx_artifact

    made = onnx_artifact(tmp_path / "given")
    with _opened(made, tmp_path / "f32") as session:
        placement = session.placement(small())
        assert placement is not None
        assert [(p.precision, p.nodes, p.asked) for p in placement.placed] == [("fp32", 2, True)]
        assert placement.left == ()
        asked = Choice("CPU", Float.bf16)
        from plugins.runtime._openvino.trace import placement as read

        compiled = session._compiled  # type: ignore[attr-defined]
        other = read(compiled, Choice("CPU", Float.f32), asked, quantised=False)
        assert other is not None
        assert other.coverage == 0
        assert [operator for _, operator in other.left] == ["Convolution", "Convolution"]


def test_a_choice_is_no_integer_and_a_move_has_any_type(tmp_path: Path) -> None:
    """A mask makes no node of 8 bits of a choice; a table and weights that only move are as asked.

    Where the graph is quantised, bytes are integers.
    """
    from plugins.runtime._openvino.trace import placement as read

    made = _graph(
        tmp_path / "given",
        helper.make_node("Gather", ["table", "ids"], ["rows"], name="rows"),
        helper.make_node("Where", ["mask", "rows", "x"], ["chosen"], name="chosen"),
        helper.make_node("MatMul", ["chosen", "table"], ["y"], name="y"),
    )
    model = onnx.load(made.path)
    tensor = helper.make_tensor_value_info
    model.graph.input.append(tensor("mask", TensorProto.BOOL, [1, 2]))
    model.graph.input.append(tensor("ids", TensorProto.INT64, [1]))
    table = np.arange(4, dtype=np.float32).reshape(2, 2)
    model.graph.initializer.append(onnx.numpy_helper.from_array(table, "table"))
    onnx.save(model, made.path)
    with _opened(made, tmp_path / "open") as session:
        compiled = session._compiled  # type: ignore[attr-defined]
        cpu, bf16 = Choice("CPU", Float.f32), Choice("CPU", Float.bf16)
        placement = session.placement({})
        integers = read(compiled, cpu, cpu, quantised=True)
        coarser = read(compiled, cpu, bf16, quantised=False)
    assert placement is not None
    assert {one.precision for one in placement.placed} == {"fp32"}
    assert integers is not None
    assert "int8" in {one.precision for one in integers.placed}
    assert coarser is not None
    assert {operator for _, operator in coarser.left} == {"Subgraph", "FullyConnected"}


@pytest.mark.parametrize("feature", ["avx512_vnni", "avx_vnni", "amx_int8"])
def test_kernels_are_exact_with_vnni(feature: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """VNNI or AMX add exactly; so do processors other than x86."""
    monkeypatch.setattr("plugins.runtime._openvino.machine.processor", lambda: ("avx2", feature))
    assert not why_inexact("CPU")
    monkeypatch.setattr("plugins.runtime._openvino.machine.processor", tuple)
    monkeypatch.setattr("platform.machine", lambda: "aarch64")
    assert not why_inexact("CPU")


class _Device:
    """A device that adds a share of the window before to the next result."""

    def __init__(self, share: float) -> None:
        self.share, self.last = share, np.zeros((1, 4), np.float32)

    def run(self, window: Tensors) -> Tensors:
        result = window["x"] + self.share * self.last
        self.last = window["x"]
        return {"y": result}


def test_state_that_a_device_keeps_is_noticed() -> None:
    """A device whose result depends on the window before is refused; one that rounds is not."""
    windows = windows_for({"x": ((1, 4), "float32")})
    assert not np.array_equal(windows[0]["x"], windows[1]["x"])
    check_repeats(_Device(1e-5).run, windows, "NPU")
    with pytest.raises(StageError, match="NPU gives another result for the same window"):
        check_repeats(_Device(0.1).run, windows, "NPU")


def test_whole_numbers_of_the_check_are_valid_indices() -> None:
    """Inputs that may be indices are zeros."""
    for window in windows_for({"at": ((3,), "int64")}):
        assert window["at"].dtype == np.int64
        assert not window["at"].any()


def test_it_ships_a_program_in_python() -> None:
    """The bundle has Python only: the code for windows, and for opening with OpenVINO."""
    shipped = OpenVino(OpenVino.Options(precision=Float.bf16)).ships(separator().info)
    assert set(shipped.sources) == {"python/window.py", "python/cpu.py", "python/device.py"}
    assert shipped.facts == {"device": "CPU", "precision": "bf16"}
    assert '"INFERENCE_PRECISION_HINT": "bf16"' in shipped.lines["python"]


def test_the_program_of_a_bundle_opens_the_graph(tmp_path: Path) -> None:
    """The bundle's code, by itself, gives the session's outputs by their names."""
    model = hybrid()
    given = feeds(model)
    made = exported(model, tmp_path / "export")
    after = _converted(made, tmp_path / "ir")
    shipped = OpenVino(OpenVino.Options()).ships(model.info)
    bundle = Path(after.folder)
    for place, file in shipped.sources.items():
        (bundle / place).parent.mkdir(exist_ok=True)
        shutil.copyfile(file, bundle / place)
    np.savez(bundle / "given.npz", **given)
    about = {
        "model": {"file": "model.xml"},
        "runtime": dict(shipped.facts),
        "core": {"inputs": model.info.core_inputs, "outputs": model.info.core_outputs},
    }
    code = (
        "import sys, json, pathlib, numpy as np\nsys.path.insert(0, 'python')\nimport device\n"
        "((_, _, opens),) = device.backends(pathlib.Path(), json.loads(sys.argv[1]))\n"
        "opened = opens()\n"
        "given = dict(np.load('given.npz'))\n"
        "assert {i.name for i in opened.get_inputs()} == given.keys()\n"
        "names = [o.name for o in opened.get_outputs()]\n"
        "np.savez('made.npz', **dict(zip(names, opened.run(names, given))))\n"
        "assert sys.modules['openvino_telemetry'] is None\n"
    )
    subprocess.run([sys.executable, "-c", code, json.dumps(about)], cwd=bundle, check=True)
    with np.load(bundle / "made.npz") as found:
        for name, expected in outputs(model, given).items():
            assert snr_db(expected, found[name]) > 110


def test_weights_beside_the_graph_are_converted(tmp_path: Path) -> None:
    """A graph with its weights in a file beside it gives the same result."""
    model = separator()
    made = exported(model, tmp_path / "export")
    save(onnx.load(made.path), Path(made.path), beside=True)
    given = feeds(model)
    with _opened(made, tmp_path) as session:
        assert snr_db(outputs(model, given)["stems"], session.run(given)["stems"]) > 110
