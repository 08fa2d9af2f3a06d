"""The quantizer `dynamic` gives matrix products integer weights, other operators on request."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from core import (
    Artifact,
    ArtifactSpec,
    Calibration,
    ModelInfo,
    Signature,
    StageError,
    StageResult,
    TensorSpec,
    TorchModel,
)
from core.conformance import QuantizerSuite
from core.measure.metrics import snr_db
from plugins.exporter._onnx import ExternalData
from plugins.quantizer.dynamic import Dynamic, DynamicOptions, Weight
from plugins.runtime._htp.library import available
from tests.conftest import Command
from tests.plugins.networks import artifact, exported, feeds, outputs, played, separator, work_in


class TestConformance(QuantizerSuite):
    """`dynamic` keeps every quantizer's contract, on the suite's two convolutions."""

    plugin = Dynamic
    options = DynamicOptions(convolutions=True)


class Mixer(nn.Module):
    """Two layers with biases, one without, an attention without weights, and one convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(512, 64)
        self.second = nn.Linear(64, 64, bias=False)
        self.last = nn.Linear(64, 512)
        self.conv = nn.Conv1d(2, 2, 3, padding=1)

    def forward(self, mix: torch.Tensor) -> torch.Tensor:
        """Mix `(1, 2, time)`."""
        hidden = self.second(torch.relu(self.first(mix)))
        weights = torch.softmax(hidden @ hidden.transpose(1, 2) * 0.1, -1)
        mixed: torch.Tensor = self.conv(self.last(weights @ hidden))
        return mixed


def _mixer() -> TorchModel:
    torch.manual_seed(0)
    specs = [TensorSpec(name, ("channel", "time"), (2, "time")) for name in ("mix", "out")]
    info = ModelInfo(Signature((specs[0],), (specs[1],)), ("mix",), ("out",))
    return TorchModel(info, Mixer().eval(), separator().reference)


def _made(source: Artifact, folder: Path, **options: object) -> Artifact:
    made = Dynamic(Dynamic.Options(**options)).run(
        source, Calibration(0, lambda: ()), work_in(folder)
    )
    return artifact(made, source.info)


def _snr(model: TorchModel, made: Artifact) -> float:
    given = feeds(model, seed=9)
    return snr_db(outputs(model, given)["out"], played(made, given)["out"])


@pytest.mark.parametrize(
    "options",
    [{}, {"weight": Weight.int8}, {"per_channel": True}, {"reduce_range": True}],
    ids=str,
)
def test_products_with_weights_are_quantised(options: dict[str, object], tmp_path: Path) -> None:
    """Products with weights are quantised and stay near PyTorch, within the limits of 8 bits.

    Attention and convolution stay in float and are counted separately.
    """
    model = _mixer()
    made = _made(exported(model, tmp_path / "export"), tmp_path / "dynamic", **options)
    assert 30 < _snr(model, made) < 60
    assert made.facts["quantised_matmuls"] == made.facts["quantised_nodes"] == 3
    assert made.facts["float_matmuls"] == 2
    assert made.facts["quantised_convolutions"] == 0
    assert made.facts["float_convolutions"] == 1
    types = {t.data_type for t in onnx.load(made.path).graph.initializer}
    signed = options.get("weight") is Weight.int8
    assert (TensorProto.INT8 if signed else TensorProto.UINT8) in types


def test_it_is_called_dynamic_and_wants_no_data(tmp_path: Path) -> None:
    """The precision of plan and artifact is `dynamic`, and no calibration data is needed."""
    quantizer = Dynamic(Dynamic.Options())
    assert quantizer.calibration_windows == 0
    assert quantizer.plan(ArtifactSpec("onnx")) == ArtifactSpec("onnx", "dynamic")
    source = exported(_mixer(), tmp_path / "export")
    made = quantizer.run(source, Calibration(0, lambda: ()), work_in(tmp_path / "dynamic"))
    assert made.precision == "dynamic"
    assert [n.text for n in made.notices] == [
        "3 matrix products have integer weights; 2 products and 1 convolutions compute in FP32"
    ]
    assert made.path.stat().st_size < Path(source.path).stat().st_size / 3


def test_convolutions_on_request_with_a_warning(tmp_path: Path) -> None:
    """Convolutions are quantised on request, with a count and a warning about the cost."""
    source = exported(_mixer(), tmp_path / "export")
    made = Dynamic(Dynamic.Options(convolutions=True)).run(
        source, Calibration(0, lambda: ()), work_in(tmp_path / "dynamic")
    )
    assert made.facts["quantised_convolutions"] == 1
    (warning,) = (n.text for n in made.notices if n.severity == "warning")
    assert warning.startswith("1 convolutions are quantised dynamically")


def test_what_is_excluded_stays_float(tmp_path: Path) -> None:
    """An excluded Gemm stays float under its own name, although it becomes a MatMul inside."""
    source = exported(_mixer(), tmp_path / "export")
    made = _made(source, tmp_path / "dynamic", exclude=["*last*"])
    assert (made.facts["quantised_matmuls"], made.facts["float_matmuls"]) == (2, 3)
    two = _two_gemms(tmp_path / "gemms")
    made = _made(two, tmp_path / "one", exclude=["second"])
    assert (made.facts["quantised_matmuls"], made.facts["float_matmuls"]) == (1, 1)


def _two_gemms(folder: Path) -> Artifact:
    """Write two layers that share their transposed weights, as tied layers do."""
    weights = np.random.default_rng(0).standard_normal((8, 8)).astype(np.float32)
    nodes = [
        helper.make_node("Gemm", ["x", "w"], ["h"], name="first", transB=1),
        helper.make_node("Gemm", ["h", "w"], ["y"], name="second", transB=1),
    ]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 8]) for name in "xy"]
    graph = helper.make_graph(
        nodes, "tied", ends[:1], ends[1:], [numpy_helper.from_array(weights, "w")]
    )
    path = work_in(folder).folder / "model.onnx"
    opsets = [helper.make_opsetid("", 20)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=10), path)
    return artifact(StageResult(path, "onnx", "fp32"), ModelInfo(Signature((), ()), ("x",), ("y",)))


def test_weights_that_two_layers_share_are_transposed_once(tmp_path: Path) -> None:
    """Weights that two Gemms share are transposed once.

    ONNX Runtime's quantiser transposes the weights of every Gemm that it meets.
    """
    source = _two_gemms(tmp_path / "export")
    made = _made(source, tmp_path / "dynamic")
    given = {"x": np.random.default_rng(1).standard_normal((1, 8)).astype(np.float32)}
    assert snr_db(played(source, given)["y"], played(made, given)["y"]) > 30


@pytest.mark.parametrize("convolutions", [False, True])
def test_a_graph_with_nothing_to_quantise_is_refused(convolutions: bool, tmp_path: Path) -> None:
    """A graph with nothing to quantise is refused with advice, and no file is left."""
    source = exported(separator(), tmp_path / "export")
    options: dict[str, object] = {"convolutions": convolutions}
    if convolutions:
        options["exclude"] = ["Conv"]
    with pytest.raises(StageError, match="nothing to quantise dynamically") as caught:
        _made(source, tmp_path / "dynamic", **options)
    helps = "or quantise convolutions too: quantizer.convolutions=true" in caught.value.lines
    assert helps is not convolutions
    assert list((tmp_path / "dynamic").iterdir()) == []


def test_weights_beside_the_graph_are_quantised(tmp_path: Path) -> None:
    """A model with its weights in a second file is quantised whole."""
    model = _mixer()
    source = exported(model, tmp_path / "export", external_data=ExternalData.always)
    assert _snr(model, _made(source, tmp_path / "dynamic")) > 30


def test_the_terminal_stays_clean(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """The messages of ONNX Runtime's quantiser do not reach the terminal."""
    _made(exported(_mixer(), tmp_path / "export"), tmp_path / "dynamic")
    assert capfd.readouterr() == ("", "")


@pytest.mark.skipif(available() is not None, reason=str(available()))
def test_qnn_is_refused_before_any_work(command: Command) -> None:
    """The plan refuses `dynamic` for QNN and names the precisions that QNN runs."""
    done = command("recipe=s24_fp16", "quantizer=dynamic")
    assert done.code == 2, done.out
    assert "runtime `qnn` runs fp16, fp32, " in done.err
    assert "but quantizer `dynamic` produces dynamic" in done.err
    assert done.out == ""


def test_a_target_that_does_not_run_it_says_so(command: Command) -> None:
    """The phone's target refuses `precision=dynamic`, because its presets are for the NPU."""
    done = command("recipe=s24_fp16", "precision=dynamic")
    assert done.code == 2, done.out
    assert "target `s24` does not run precision `dynamic`" in done.err


def test_a_cpu_plans_it(command: Command) -> None:
    """A CPU recipe plans `precision=dynamic` without calibration data or another option."""
    done = command("recipe=cpu_fp32", "precision=dynamic", "mode=plan")
    assert done.code == 0, done.err
    assert "dynamic" in done.out
