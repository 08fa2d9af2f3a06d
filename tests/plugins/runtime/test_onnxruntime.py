"""The runtime `onnxruntime`."""

from __future__ import annotations

import platform
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper

from core import Artifact, InputError, Session, StageError, StageResult, TorchModel
from core.conformance import RuntimeSuite
from core.formats.onnx_graph import save
from core.measure.metrics import snr_db
from plugins.runtime.onnxruntime import OnnxRuntime, Optimisation
from tests.plugins.graphs import graph
from tests.plugins.networks import artifact, exported, feeds, hybrid, outputs, separator, work_in


class TestConformance(RuntimeSuite):
    """`onnxruntime` keeps every runtime's contract."""

    plugin = OnnxRuntime


def _no_model() -> TorchModel:
    raise AssertionError("an ONNX graph is played without the torch module")


def _opened(made: Artifact, folder: Path, **options: object) -> Session:
    runtime = OnnxRuntime(OnnxRuntime.Options(**options))
    return runtime.open(made, _no_model, work_in(folder))


@pytest.mark.parametrize("optimisation", Optimisation)
def test_the_graph_plays(optimisation: Optimisation, tmp_path: Path) -> None:
    """The graph plays by name at every optimisation level, and the label names CPU and library."""
    model = hybrid()
    made = exported(model, tmp_path / "export")
    given = feeds(model)
    with _opened(made, tmp_path / "work", threads=1, optimisation=optimisation) as session:
        actual = session.run(given)
        assert session.device == (
            f"CPU (ONNX Runtime {onnxruntime.__version__}, {platform.machine()})"
        )
        assert session.on_target
    for name, expected in outputs(model, given).items():
        np.testing.assert_allclose(actual[name], expected, atol=1e-5)


@pytest.mark.parametrize("spinning", [False, True])
def test_threads_that_wait_sleep_unless_they_are_to_spin(
    spinning: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Waiting threads sleep unless `spinning` is set, and `threads` sets their number."""
    given: list[onnxruntime.SessionOptions] = []
    actual = onnxruntime.InferenceSession

    def opened(path: str, sess_options: onnxruntime.SessionOptions, **others: object) -> object:
        given.append(sess_options)
        return actual(path, sess_options=sess_options, **others)

    monkeypatch.setattr(onnxruntime, "InferenceSession", opened)
    made = exported(separator(), tmp_path / "export")
    given.clear()
    with _opened(made, tmp_path / "work", spinning=spinning, threads=3):
        (options,) = given
    entry = options.get_session_config_entry("session.intra_op.allow_spinning")
    assert entry == str(int(spinning))
    assert options.intra_op_num_threads == 3


def test_a_file_that_is_no_graph_ends_in_one_message(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """A file that is no graph gives one message, without the library's codes and prints."""
    made = exported(separator(), tmp_path / "export")
    Path(made.path).write_bytes(b"not a graph")
    with pytest.raises(StageError, match=r"cannot open `model\.onnx` on the CPU") as caught:
        _opened(made, tmp_path / "work")
    assert "[ONNXRuntimeError]" not in str(caught.value)
    assert caught.value.lines[1].startswith("Load model from")
    assert capfd.readouterr() == ("", "")


def test_an_operator_that_is_missing_is_named(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """A missing operator is named in the error, and ONNX Runtime's log is not shown."""
    tensor = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("Warble", ["x"], ["y"], domain="some.where")],
        "one", [tensor("x", 1, [2])], [tensor("y", 1, [2])],
    )  # fmt: skip
    opsets = [onnx.helper.make_opsetid("", 17), onnx.helper.make_opsetid("some.where", 1)]
    made = exported(separator(), tmp_path / "export")
    model = onnx.helper.make_model(graph, opset_imports=opsets, ir_version=8)
    onnx.save(model, made.path)
    with pytest.raises(StageError, match=r"some\.where:Warble"):
        _opened(made, tmp_path / "work")
    assert capfd.readouterr() == ("", "")


def test_a_run_that_fails_prints_nothing_itself(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """A run that fails raises an error and prints nothing, not even a log line."""
    tensor = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("Gather", ["x", "at"], ["y"])],
        "one", [tensor("x", 1, [2]), tensor("at", onnx.TensorProto.INT64, [1])],
        [tensor("y", 1, [1])],
    )  # fmt: skip
    made = exported(separator(), tmp_path / "export")
    opsets = [onnx.helper.make_opsetid("", 17)]
    onnx.save(onnx.helper.make_model(graph, opset_imports=opsets, ir_version=8), made.path)
    given = {"x": np.zeros(2, np.float32), "at": np.array([7])}
    with (
        _opened(made, tmp_path / "work") as session,
        pytest.raises(StageError, match="out of data bounds"),
    ):
        session.run(given)
    assert capfd.readouterr() == ("", "")


def test_nothing_is_cast_in_silence(tmp_path: Path) -> None:
    """An input in float64 is an error that shows both types, and is not cast."""
    model = separator()
    given = {"mix": feeds(model)["mix"].astype(np.float64)}
    with (
        _opened(exported(model, tmp_path / "export"), tmp_path / "work") as session,
        pytest.raises(StageError, match="cannot run the graph on these inputs") as caught,
    ):
        session.run(given)
    assert "given: mix float64 1×2×512" in caught.value.lines
    assert "the graph takes: mix tensor(float)" in caught.value.lines


def test_another_length_is_an_error(tmp_path: Path) -> None:
    """A window of another length than the graph's is an error."""
    model = separator()
    with (
        _opened(exported(model, tmp_path / "export"), tmp_path / "work") as session,
        pytest.raises(StageError, match="given: mix float32 1×2×256"),
    ):
        session.run(feeds(model, samples=256))


def test_a_missing_input_is_named(tmp_path: Path) -> None:
    """A missing input, as from another model's dsp, is an error that names the input."""
    model = hybrid()
    with (
        _opened(exported(model, tmp_path / "export"), tmp_path / "work") as session,
        pytest.raises(StageError, match="needs the input `mag`"),
    ):
        session.run({"mix": feeds(model)["mix"]})


def test_it_ships_a_program_for_a_device() -> None:
    """The runtime ships code for windows and devices in three languages, and the app's library."""
    shipped = OnnxRuntime(OnnxRuntime.Options()).ships(separator().info)
    assert set(shipped.sources) == {
        *("python/window.py", "cpp/window.h", "kotlin/Window.kt"),
        *("python/cpu.py", "cpp/cpu.h", "kotlin/Cpu.kt"),
        *("python/device.py", "cpp/device.h", "kotlin/Device.kt"),
    }
    assert all(file.is_file() for file in shipped.sources.values())
    assert "onnxruntime-android" in shipped.lines["kotlin"]


def test_weights_of_8_bits_leave_their_input_alone(tmp_path: Path) -> None:
    """A product of floats with weights of 8 bits in blocks is exact: its input is not rounded."""
    random = np.random.default_rng(0)
    weights = random.integers(0, 256, (64, 32), np.uint8)
    scales = random.uniform(0.01, 0.02, (2, 32)).astype(np.float32)
    nodes = [
        helper.make_node("DequantizeLinear", ["q", "s"], ["w"], "dq", axis=0, block_size=32),
        helper.make_node("MatMul", ["x", "w"], ["y"], "product"),
    ]
    model = graph(nodes, {"x": [8, 64]}, {"y": [8, 32]}, {"q": weights, "s": scales}, opset=21)
    file = tmp_path / "graph" / "model.onnx"
    file.parent.mkdir()
    onnx.save(model, file)
    x = random.standard_normal((8, 64)).astype(np.float32)
    made = artifact(StageResult(file, "onnx", "fp32"), separator().info)
    with _opened(made, tmp_path / "work") as session:
        actual = session.run({"x": x})["y"]
    assert snr_db(x @ (weights * np.repeat(scales, 32, axis=0)), actual) > 100


def test_negative_threads_are_refused() -> None:
    """A negative number of threads is refused by the name of the option."""
    with pytest.raises(ValueError, match="`threads` cannot be -1"):
        OnnxRuntime.Options(threads=-1)


def test_weights_under_a_second_name_are_not_read(tmp_path: Path) -> None:
    """A graph whose weights have a second name (a hard link) is refused.

    ONNX Runtime itself refuses paths out of the folder, but not a hard link.
    """
    made = exported(separator(), tmp_path / "export")
    path = Path(made.path)
    graph = onnx.load(str(path))
    save(graph, path, beside=True)
    weights = path.with_name(f"{path.name}.data")
    _opened(made, tmp_path / "first").close()
    (tmp_path / "elsewhere").hardlink_to(weights)
    with pytest.raises(InputError, match="cannot be used as an ONNX graph"):
        _opened(made, tmp_path / "work")


def test_a_trace_counts_every_node_and_leaves_no_file(tmp_path: Path) -> None:
    """A second session is profiled: the one that is timed writes nothing, and stays open."""
    model = separator()
    made, work = exported(model, tmp_path / "export"), tmp_path / "work"
    with _opened(made, work, threads=1) as session:
        session.run(feeds(model))
        placement = session.placement(feeds(model))
        session.run(feeds(model))
    assert placement is not None
    assert placement.nodes > 0
    assert {(one.device, one.precision) for one in placement.placed} == {("CPU", "fp32")}
    assert (placement.coverage, placement.left) == (1.0, ())
    assert [path for path in work.rglob("*") if path.is_file()] == []
