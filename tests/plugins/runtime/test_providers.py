"""The runtime `onnxruntime` on execution providers other than the CPU."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

from core import Artifact, Session, StageError, TorchModel
from core.conformance import RuntimeSuite
from core.conformance.converter import feeds, onnx_artifact, torch_model
from core.errors import MissingLibraryError
from core.measure.metrics import snr_db
from plugins.runtime._providers import known, plugged
from plugins.runtime._providers.known import KNOWN, Provider, check_installed, installed
from plugins.runtime.onnxruntime import OnnxRuntime, OnnxRuntimeOptions
from tests.optional import needs
from tests.plugins.networks import work_in

#: SwiftShader, a Vulkan driver in software, inside Debian's package of Chromium.
ICD = Path("/usr/lib/chromium/vk_swiftshader_icd.json")
SOFTWARE: dict[str, Any] = {"provider": Provider.webgpu, "software_adapter": True}


def _no_model() -> TorchModel:
    raise AssertionError("an ONNX graph is played without the torch module")


def _opened(made: Artifact, folder: Path, **options: Any) -> Session:
    runtime = OnnxRuntime(OnnxRuntime.Options(**options))
    return runtime.open(made, _no_model, work_in(folder))


def _with_det(folder: Path) -> Artifact:
    """Write the small graph with a last node `Det`, which only the CPU computes."""
    made = onnx_artifact(folder)
    model = onnx.load(made.path)
    model.graph.node.append(helper.make_node("Det", ["y"], ["z"], name="det"))
    model.graph.output.append(helper.make_tensor_value_info("z", TensorProto.FLOAT, [1, 3]))
    onnx.save(model, made.path)
    return made


@pytest.fixture
def adapter(monkeypatch: pytest.MonkeyPatch) -> None:
    """Skip where WebGPU has no software adapter."""
    if ICD.is_file():
        monkeypatch.setenv("VK_ICD_FILENAMES", str(ICD))
    code = (
        "import core, onnxruntime as o\n"
        "from plugins.runtime._providers.plugged import devices_of\n"
        "from plugins.runtime._providers.known import Provider\n"
        "from onnx import helper as h\n"
        "found, _ = devices_of(Provider.webgpu, software=True)\n"
        "s = o.SessionOptions()\ns.add_provider_for_devices(found[:1], {})\n"
        "x, y = (h.make_tensor_value_info(n, 1, [1]) for n in 'xy')\n"
        "g = h.make_graph([h.make_node('Abs', ['x'], ['y'])], 'g', [x], [y])\n"
        "m = h.make_model(g, opset_imports=[h.make_opsetid('', 17)], ir_version=8)\n"
        "o.InferenceSession(m.SerializeToString(), s, enable_fallback=0)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        pytest.skip(f"WebGPU has no software adapter here: {done.stderr.strip()[-200:]}")


@needs("onnxruntime_ep_webgpu")
@pytest.mark.usefixtures("adapter")
class TestWebGpu(RuntimeSuite):
    """WebGPU's own kernels, on a software adapter, keep every runtime's contract."""

    plugin = OnnxRuntime
    options = OnnxRuntimeOptions(**SOFTWARE)
    agreement_db = 110.0


@needs("onnxruntime_ep_webgpu")
@pytest.mark.usefixtures("adapter")
def test_webgpu_computes_every_node(tmp_path: Path) -> None:
    """Label and trace say that WebGPU computed all, and that software stands in for a GPU."""
    with _opened(onnx_artifact(tmp_path / "g"), tmp_path / "w", **SOFTWARE) as session:
        session.run(feeds())
        placement = session.placement(feeds())
    version = onnxruntime.__version__
    assert session.device == f"WebGPU (ONNX Runtime {version}, a software adapter)"
    assert placement is not None
    assert placement.coverage == 1
    assert {one.device for one in placement.placed} == {"WebGPU"}


@needs("onnxruntime_ep_webgpu")
@pytest.mark.usefixtures("adapter")
def test_a_node_that_a_provider_leaves_is_an_error(tmp_path: Path) -> None:
    """A node that the provider does not take is named, with its operator."""
    with pytest.raises(StageError, match="WebGPU leaves 1 nodes of") as c:
        _opened(_with_det(tmp_path / "g"), tmp_path / "w", **SOFTWARE)
    assert "Det: det" in c.value.lines
    assert "runtime.allow_fallback=true" in str(c.value)


@needs("onnxruntime_ep_webgpu")
@pytest.mark.usefixtures("adapter")
def test_a_node_may_be_left_if_that_is_allowed(tmp_path: Path) -> None:
    """With `allow_fallback` the CPU computes it; label, facts and trace say so."""
    made = _with_det(tmp_path / "g")
    with _opened(made, tmp_path / "w", **SOFTWARE, allow_fallback=True) as session:
        outputs = session.run(feeds())
        placement = session.placement(feeds())
    expected = torch_model().reference({"x": feeds()["x"][0]})["y"]
    assert snr_db(expected, outputs["y"][0]) > 110
    assert session.device.startswith("WebGPU and CPU (")
    assert "leaves 1 nodes" in str(session.facts["instead_of_what_was_asked"])
    assert placement is not None
    assert placement.left == (("det", "Det"),)
    assert 0 < placement.coverage < 1


@pytest.mark.long
@pytest.mark.timeout(900)
@needs("onnxruntime_ep_webgpu")
@pytest.mark.usefixtures("adapter")
def test_the_bundled_model_on_webgpu_is_that_on_the_cpu(tmp_path: Path) -> None:
    """One window of the bundled model agrees with the CPU's to more than 100 dB, minutes later."""
    import numpy as np

    from plugins.exporter.onnx import Onnx
    from plugins.model.htdemucs import HTDemucs
    from tests.plugins.networks import artifact

    model = HTDemucs(HTDemucs.Options(weights="bundled"))
    fetched = model.fetch(work_in(tmp_path / "fetch"))
    assert fetched.model is not None
    opened = model.open(artifact(fetched, fetched.model), {"time": 44_032})
    noise = np.random.default_rng(0)
    given = {
        "mix": noise.standard_normal((1, 2, 44_032)).astype(np.float32) * 0.1,
        "mag": noise.standard_normal((1, 4, 2048, 43)).astype(np.float32),
    }
    made = artifact(Onnx(Onnx.Options()).run(opened, given, work_in(tmp_path / "e")), opened.info)
    with _opened(made, tmp_path / "cpu") as session:
        expected = session.run(given)
    with _opened(made, tmp_path / "gpu", **SOFTWARE) as session:
        actual = session.run(given)
    for name, array in expected.items():
        assert snr_db(array, actual[name]) > 100


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let ONNX Runtime be the build for the CPU, with no provider plugged in."""
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])
    monkeypatch.setattr(known, "find_spec", lambda _: None)


@pytest.mark.usefixtures("bare")
@pytest.mark.parametrize("provider", [one for one in Provider if one is not Provider.cpu])
def test_a_provider_that_is_not_installed_is_named(provider: Provider, tmp_path: Path) -> None:
    """The plan names what is installed, and the command that brings the provider."""
    from core import ArtifactSpec

    runtime = OnnxRuntime(OnnxRuntime.Options(provider=provider))
    with pytest.raises(MissingLibraryError, match=f"no provider `{provider.name}` here") as caught:
        runtime.plan(ArtifactSpec("onnx"))
    assert caught.value.lines == ("installed: cpu", f"to get it: {KNOWN[provider].install}")
    with pytest.raises(MissingLibraryError):
        _opened(onnx_artifact(tmp_path / "g"), tmp_path / "w", provider=provider)


@pytest.mark.usefixtures("bare")
def test_the_cpu_is_always_there() -> None:
    """The CPU needs nothing, and is what the doctor lists."""
    check_installed(Provider.cpu)
    assert installed() == [Provider.cpu]
    assert [notice.text for notice in OnnxRuntime.findings()] == ["execution providers: cpu"]
    assert OnnxRuntime(OnnxRuntime.Options()).machine() == {}


@pytest.fixture
def deviceless(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let WebGPU be installed and find no device."""
    monkeypatch.setattr(known, "installed", lambda: [Provider.cpu, Provider.webgpu])
    monkeypatch.setattr(plugged, "plug_in", lambda *_: [])
    module = type("module", (), {"get_library_path": staticmethod(lambda: "none.so")})
    monkeypatch.setattr(plugged.importlib, "import_module", lambda _: module)


@pytest.mark.usefixtures("deviceless")
def test_a_provider_without_a_device_is_an_error(tmp_path: Path) -> None:
    """A provider that starts and finds no device says what it needs."""
    with pytest.raises(StageError, match=r"cannot run `model\.onnx` on WebGPU") as caught:
        _opened(onnx_artifact(tmp_path / "g"), tmp_path / "w", provider=Provider.webgpu)
    assert "WebGPU finds no device on this machine" in caught.value.lines[0]
    assert "runtime.software_adapter=true" in caught.value.lines[0]


@pytest.mark.usefixtures("deviceless")
def test_the_cpu_takes_over_only_if_allowed(tmp_path: Path) -> None:
    """With `allow_fallback` the CPU computes all of it, and nothing of it counts as asked."""
    made = onnx_artifact(tmp_path / "g")
    options: dict[str, Any] = {"provider": Provider.webgpu, "allow_fallback": True}
    with _opened(made, tmp_path / "w", **options) as session:
        session.run(feeds())
        placement = session.placement(feeds())
    assert session.device.startswith("CPU (")
    assert "finds no device" in str(session.facts["instead_of_what_was_asked"])
    assert placement is not None
    assert placement.coverage == 0


def test_a_library_that_does_not_load_is_in_the_systems_words(tmp_path: Path) -> None:
    """The reason names the file, without ONNX Runtime's codes."""
    library = tmp_path / "broken.so"
    library.write_text("no library")
    with pytest.raises(Exception, match=r"broken\.so") as caught:
        plugged.plug_in("broken", str(library), "Broken")
    from core.formats.onnx_providers import reason_of

    assert "[ONNXRuntimeError]" not in reason_of(caught.value)[0]
    assert "broken" not in plugged._registered


@needs("onnxruntime_ep_openvino")
def test_openvino_says_where_it_finds_no_device(tmp_path: Path) -> None:
    """The provider has devices by Intel only; elsewhere the error names the runtime instead."""
    found, reason = plugged.devices_of(Provider.openvino)
    if found:
        pytest.skip("this machine has a device by Intel")
    assert "runtime=openvino" in reason
    with pytest.raises(StageError, match="on OpenVINO"):
        _opened(onnx_artifact(tmp_path / "g"), tmp_path / "w", provider=Provider.openvino)


def test_openvino_is_always_told_its_type() -> None:
    """`load_config` is the one place that counts; it says f32 for every device that has it."""
    import json

    told = json.loads(KNOWN[Provider.openvino].options["load_config"])
    assert {one["INFERENCE_PRECISION_HINT"] for one in told.values()} == {"f32"}
    assert set(told) == {"CPU", "GPU"}


def test_cuda_does_not_round_to_tf32() -> None:
    """CUDA's products keep all bits of FP32."""
    assert KNOWN[Provider.cuda].options == {"use_tf32": "0"}


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"device": "TPU"}, "`device` cannot be `TPU`"),
        ({"device": "GPU"}, "no choice with `provider` cpu"),
        ({"software_adapter": True}, "is for `provider` webgpu"),
    ],
)
def test_options_are_checked(options: dict[str, Any], says: str) -> None:
    """A device that is no kind, and options of another provider, are refused."""
    with pytest.raises(ValueError, match=says):
        OnnxRuntime.Options(**options)


def test_the_environment_is_left_alone() -> None:
    """Without `software_adapter` the variable of WebGPU's library is not set by us."""
    before = os.environ.get(plugged.SOFTWARE)
    plugged.devices_of(Provider.openvino)
    assert os.environ.get(plugged.SOFTWARE) == before
