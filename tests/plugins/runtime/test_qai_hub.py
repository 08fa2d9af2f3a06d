from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import onnx
import pytest

from core import ArtifactSpec, Placed, StageContext, StageError
from core.conformance import RuntimeSuite
from core.conformance.converter import INFO, artifact, of, onnx_artifact
from core.plugin.progress import silent
from plugins.runtime._qai_hub import compiled
from plugins.runtime.qai_hub import QaiHub, QaiHubOptions, TargetRuntime
from plugins.vendor.qai_hub.profile import placement_of
from tests.hub.account import account, hurried, loopback_only
from tests.hub.cloud import Cloud

OPTIONS = QaiHubOptions(device="Samsung Galaxy S24", poll_s=0.01)


@pytest.fixture(autouse=True)
def cloud(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cloud]:
    """Give every test an account of the stand-in service."""
    loopback_only(monkeypatch)
    hurried(monkeypatch)
    with account(tmp_path / "cloud", monkeypatch) as served:
        yield served


@pytest.fixture
def work(tmp_path: Path) -> StageContext:
    """Return a work folder with a state folder beside it."""
    (tmp_path / "work").mkdir()
    return StageContext(tmp_path / "work", silent(), tmp_path / "state")


class TestConformance(RuntimeSuite):
    """`qai_hub` keeps every runtime's contract."""

    plugin = QaiHub
    options: ClassVar[QaiHubOptions] = OPTIONS


def test_the_artifact_holds_what_was_downloaded(tmp_path: Path, work: StageContext) -> None:
    """The artifact holds the unpacked model and its interface, and no other download."""
    made = QaiHub(OPTIONS).compile(onnx_artifact(tmp_path / "given"), work)
    assert sorted(p.name for p in work.folder.iterdir()) == ["interface.json", "model.onnx"]
    assert made.path.name == "model.onnx"
    assert made.facts["target_runtime"] == "precompiled_qnn_onnx"
    assert made.facts["window_bytes"] == 4 * 3 * 16 * 16
    interface = json.loads((work.folder / "interface.json").read_text())
    assert interface["inputs"] == [{"name": "x", "shape": [1, 3, 16, 16], "dtype": "float32"}]


@pytest.mark.parametrize(
    ("target", "precision"), [("precompiled_qnn_onnx", "fp16"), ("onnx", "fp32")]
)
def test_the_plan_says_what_the_compiler_makes(target: str, precision: str) -> None:
    """The plan gives FP16 for a float graph on an NPU, and no change for ONNX and INT8."""
    runtime = QaiHub(QaiHubOptions(device="x", target_runtime=TargetRuntime[target]))
    assert runtime.plan(ArtifactSpec("onnx", "fp32")) == ArtifactSpec("qai_hub", precision)
    assert runtime.plan(ArtifactSpec("onnx", "int8")) == ArtifactSpec("qai_hub", "int8")


def test_a_bare_onnx_target_is_compiled_and_played(tmp_path: Path, work: StageContext) -> None:
    """The target `onnx`, one file without an archive, is compiled and played."""
    from core.conformance.converter import feeds, torch_model

    runtime = QaiHub(QaiHubOptions("Samsung Galaxy S24", TargetRuntime.onnx, poll_s=0.01))
    made = runtime.compile(onnx_artifact(tmp_path / "given"), work)
    with runtime.open(of(made, work), torch_model, work) as session:
        assert session.run(feeds(1))["y"].shape == (1, 3, 16, 16)


def test_weights_beside_the_graph_are_sent_with_it(tmp_path: Path, work: StageContext) -> None:
    """A graph of several files is uploaded and downloaded with all of its files."""
    from core.conformance.converter import feeds, torch_model

    given = onnx_artifact(tmp_path / "given")
    model = onnx.load(given.path)
    onnx.save(
        model, given.path, save_as_external_data=True, location="model.onnx.data", size_threshold=0
    )
    runtime = QaiHub(OPTIONS)
    made = runtime.compile(artifact(tmp_path / "given", Path(given.path), "onnx", "fp32"), work)
    assert (work.folder / "model.onnx.data").is_file()
    with runtime.open(of(made, work), torch_model, work) as session:
        assert session.run(feeds(1))["y"].shape == (1, 3, 16, 16)


def test_a_graph_of_any_length_is_refused_before_it_is_sent(
    tmp_path: Path, work: StageContext, cloud: Cloud
) -> None:
    """A graph without a fixed length is refused before any upload.

    An NPU compiles for one length.
    """
    given = onnx_artifact(tmp_path / "given")
    model = onnx.load(given.path)
    model.graph.input[0].type.tensor_type.shape.dim[3].dim_param = "width"
    onnx.save(model, given.path)
    with pytest.raises(StageError, match="`x` has no fixed length"):
        QaiHub(OPTIONS).compile(given, work)
    assert cloud.log == []


@pytest.mark.parametrize(
    ("target", "said", "name"),
    [
        (TargetRuntime.precompiled_qnn_onnx, "QNNExecutionProvider", "model.onnx"),
        (TargetRuntime.onnx, "QNNExecutionProvider", "model.onnx"),
        (TargetRuntime.qnn_context_binary, "libQnnHtp.so", "model.bin"),
        (TargetRuntime.tflite, "Interpreter", "model.tflite"),
    ],
)
def test_the_bundle_says_how_to_load_what_was_compiled(
    target: TargetRuntime, said: str, name: str
) -> None:
    """The lines in the bundle's README load the file of the chosen target."""
    lines = QaiHub(replace(OPTIONS, target_runtime=target)).ships(INFO).lines["python"]
    assert said in lines
    assert name in lines


@pytest.mark.parametrize("option", ["job_mb", "poll_s", "time_limit_s"])
def test_options_that_cannot_be_are_refused(option: str) -> None:
    """Options of 0 that would fail later or never end are refused by name."""
    with pytest.raises(ValueError, match=f"`{option}`"):
        QaiHubOptions(device="x", **{option: 0})


def test_an_interface_survives_its_file(tmp_path: Path) -> None:
    """An interface that is written beside a model is read back unchanged."""
    interface = compiled.interface_of(Path(onnx_artifact(tmp_path / "given").path))
    compiled.write(interface, tmp_path)
    assert compiled.read(tmp_path) == interface


def test_a_layer_beside_the_npu_is_named() -> None:
    """The device's profile has the compute unit of every layer; the NPU is asked for."""
    layers = [{"name": f"/n/{n}", "type": "Conv", "compute_unit": "NPU"} for n in range(3)]
    layers.append({"name": "/erf", "type": "Erf", "compute_unit": "CPU"})
    placement = placement_of({"execution_summary": {}, "execution_detail": layers})
    assert placement is not None
    assert placement.placed == (Placed("NPU", 3), Placed("CPU", 1, asked=False))
    assert placement.left == (("/erf", "Erf"),)
    assert placement_of({}) is None
    assert placement_of({"execution_summary": {}, "execution_detail": []}) is None


@pytest.mark.parametrize("profile", [True, False])
def test_a_stand_in_computes_on_the_cpu_and_says_so(
    profile: bool, tmp_path: Path, work: StageContext
) -> None:
    """No layer of a stand-in runs on an NPU; without a profile nothing is known."""
    from core.conformance.converter import feeds, torch_model

    options = QaiHubOptions(device="Samsung Galaxy S24", poll_s=0.01, profile=profile)
    runtime = QaiHub(options)
    made = runtime.compile(onnx_artifact(tmp_path / "given"), work)
    with runtime.open(of(made, work), torch_model, work) as session:
        session.run(feeds(1))
        placement = session.placement(feeds(1))
    if not profile:
        assert placement is None
        return
    assert placement is not None
    assert {one.device for one in placement.placed} == {"CPU"}
    assert placement.coverage == 0.0
