"""The quantizer `fp16` keeps nodes in FP32 by their ranges, so no tensor overflows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper
from torch import nn

from core import (
    Artifact,
    ArtifactSpec,
    Calibration,
    InputError,
    ModelInfo,
    Progress,
    Signature,
    StageContext,
    StageError,
    Tensors,
    TensorSpec,
    TorchModel,
)
from core.conformance import QuantizerSuite
from core.measure.metrics import snr_db
from plugins.exporter._onnx import ExternalData
from plugins.quantizer.fp16 import Fp16
from tests.plugins.graphs import graph, lowered, windows, worst_db
from tests.plugins.half_device import played_in_half
from tests.plugins.networks import (
    artifact,
    exported,
    feeds,
    hybrid,
    outputs,
    played,
    separator,
    work_in,
)

WINDOWS = 3


class TestConformance(QuantizerSuite):
    """`fp16` keeps every quantizer's contract."""

    plugin = Fp16


def _windows(model: TorchModel, gain: float = 1.0) -> list[Tensors]:
    return [
        {name: array * np.float32(gain) for name, array in feeds(model, seed).items()}
        for seed in range(WINDOWS)
    ]


def _ranged(
    source: Artifact, folder: Path, windows: Sequence[Tensors], **options: object
) -> Artifact:
    """Convert with calibration data."""
    made = Fp16(Fp16.Options(**options)).run(
        source, Calibration(len(windows), lambda: windows), work_in(folder)
    )
    return artifact(made, source.info)


def _listed(source: Artifact, folder: Path, **options: object) -> Artifact:
    """Convert without calibration data."""
    made = Fp16(Fp16.Options(**options)).run(source, Calibration(0, lambda: ()), work_in(folder))
    return artifact(made, source.info)


@pytest.mark.parametrize("network", [separator, hybrid])
@pytest.mark.parametrize("windows", [0, WINDOWS])
def test_result_is_that_of_16_bits(network: type, windows: int, tmp_path: Path) -> None:
    """The result has the SNR of a mantissa of 11 bits, with and without calibration data."""
    model = network()
    source = exported(model, tmp_path / "export")
    given = feeds(model, seed=9)
    made = _ranged(source, tmp_path / "fp16", _windows(model)[:windows])
    onnx.checker.check_model(onnx.load(made.path), full_check=True)
    actual, expected = played(made, given), outputs(model, given)
    for name in expected:
        assert 55 < snr_db(expected[name], actual[name]) < 90


def test_inputs_and_outputs_stay_fp32(tmp_path: Path) -> None:
    """Inputs and outputs stay FP32 for the host, and the weights take half the space."""
    model = separator()
    made = _ranged(exported(model, tmp_path / "export"), tmp_path / "fp16", _windows(model))
    graph = onnx.load(made.path)
    onnx.checker.check_model(graph, full_check=True)
    ends = (*graph.graph.input, *graph.graph.output)
    assert {v.type.tensor_type.elem_type for v in ends} == {TensorProto.FLOAT}
    halves = [t for t in graph.graph.initializer if t.data_type == TensorProto.FLOAT16]
    assert sum(np.prod(t.dims) for t in halves) > 1_000
    assert made.spec == ArtifactSpec("onnx", "fp16")


def test_without_data_what_sums_stays_fp32_and_that_is_said(tmp_path: Path) -> None:
    """Without data, a norm stays in FP32, and a notice says so.

    With data, whose sums are small, the norm is converted.
    """
    model = separator()
    source = exported(model, tmp_path / "export")
    plugin = Fp16(Fp16.Options(windows=0))
    assert plugin.calibration_windows == 0
    assert not Fp16.calibration_needed
    made = plugin.run(source, Calibration(0, lambda: ()), work_in(tmp_path / "listed"))
    assert made.facts["float32_nodes"] == 1
    assert made.facts["calibration_windows"] == 0
    assert [n.text.partition(":")[0] for n in made.notices] == ["no calibration data"]
    ranged = _ranged(source, tmp_path / "ranged", _windows(model))
    assert ranged.facts["float32_nodes"] == 0
    assert ranged.facts["float16_nodes"] > 5


class Variance(nn.Module):
    """Divides by a variance in separate operators, of values 400 times the input's."""

    def forward(self, mix: torch.Tensor) -> torch.Tensor:
        """Normalise."""
        loud = mix * 400
        centred = loud - loud.mean(-1, keepdim=True)
        return centred / torch.sqrt((centred * centred).mean(-1, keepdim=True) + 1e-5)


class TinyNorm(nn.Module):
    """Normalises values whose variance is far below the norm's own epsilon."""

    def forward(self, mix: torch.Tensor) -> torch.Tensor:
        """Normalise, and scale back to the size of the input."""
        return nn.functional.layer_norm(mix * 1e-4, mix.shape[-1:]) * 4


class Average(nn.Module):
    """Divides by the mean of 512 magnitudes of about 200, whose sum is about 102,400."""

    def forward(self, mix: torch.Tensor) -> torch.Tensor:
        """Divide by the average."""
        return mix / ((mix.abs() * 250).mean(-1, keepdim=True) + 1)


def _opened(core: nn.Module) -> TorchModel:
    specs = [TensorSpec(name, ("channel", "time"), (2, "time")) for name in ("mix", "out")]
    info = ModelInfo(Signature((specs[0],), (specs[1],)), ("mix",), ("out",))
    return TorchModel(info, core.eval(), separator().reference)


def _snr(model: TorchModel, made: Artifact, gain: float = 1.0) -> float:
    """Return the SNR of a device that stores FP16 against PyTorch."""
    given = {name: array * np.float32(gain) for name, array in feeds(model, seed=9).items()}
    with np.errstate(all="ignore"):
        actual = played_in_half(made.path, given)["out"]
    return snr_db(outputs(model, given)["out"], actual)


@pytest.mark.parametrize("windows", [0, WINDOWS])
def test_a_variance_does_not_overflow(windows: int, tmp_path: Path) -> None:
    """A variance whose squares pass 65,504 does not overflow.

    A cast to FP16 between the square and the mean would make the squares infinite.
    """
    model = _opened(Variance())
    source = exported(model, tmp_path / "export")
    made = _ranged(source, tmp_path / "kept", _windows(model)[:windows])
    assert _snr(model, made) > 55


def test_windows_decide_what_overflows(tmp_path: Path) -> None:
    """Ranges from quiet windows convert a square that overflows in a loud window."""
    model = _opened(Variance())
    source = exported(model, tmp_path / "export")
    quiet = _ranged(source, tmp_path / "quiet", _windows(model, 0.02))
    assert "kept_overflow" not in quiet.facts
    assert _snr(model, quiet, 0.02) > 55
    assert _snr(model, quiet) < 10


def test_a_saturating_node_is_named(tmp_path: Path) -> None:
    """A warning and the facts name each saturating node, its operator, tensor and range."""
    model = _opened(Variance())
    source = exported(model, tmp_path / "export")
    windows = _windows(model)
    made = Fp16(Fp16.Options()).run(
        source, Calibration(WINDOWS, lambda: windows), work_in(tmp_path / "fp16")
    )
    nodes = onnx.load(source.path).graph.node
    (square,) = (n for n in nodes if n.op_type == "Mul" and n.input[0] == n.input[1])
    (warning,) = (n.text for n in made.notices if n.severity == "warning")
    assert f"{square.name} ({square.op_type}): `{square.output[0]}` reaches " in warning
    assert warning.startswith(f"{made.facts['kept_overflow']} node(s) exceed FP16's 65,504")
    listed = made.facts["kept_because"]
    assert isinstance(listed, list)
    assert any(str(line).startswith(f"{square.name} ({square.op_type}): ") for line in listed)
    assert made.facts["calibration_windows"] == 2 * WINDOWS + 1


def test_headroom_keeps_what_comes_near(tmp_path: Path) -> None:
    """Values up to 30,000 stay in FP32 if the headroom is 4, and they cause no warning."""
    model = _opened(Variance())
    source = exported(model, tmp_path / "export")
    window = feeds(model)["mix"]
    peak = float(np.abs(400 * (window - window.mean(-1, keepdims=True))).max()) ** 2
    near = [{"mix": window * np.float32(np.sqrt(30_000 / peak))}]
    kept = _ranged(source, tmp_path / "near", near, headroom=4)
    assert kept.facts["kept_near"] == 2  # the square, and the mean that reads it
    bold = _ranged(source, tmp_path / "bold", near, headroom=1)
    assert "kept_near" not in bold.facts


def test_a_variance_below_the_normal_range_stays_fp32(tmp_path: Path) -> None:
    """A variance of 1e-8 and an epsilon of 1e-5 stay in FP32: they have few bits in FP16."""
    model = _opened(TinyNorm())
    source = exported(model, tmp_path / "export")
    made = _ranged(source, tmp_path / "fp16", _windows(model))
    assert made.facts["kept_weak"] >= 1
    assert any("falls to" in str(line) for line in made.facts["kept_because"])
    assert _snr(model, made) > 55


def test_a_sum_that_overflows_only_inside_is_named(tmp_path: Path) -> None:
    """A mean whose inner sum alone would overflow FP16 stays in FP32, and a notice names it."""
    model = _opened(Average())
    source = exported(model, tmp_path / "export")
    windows = _windows(model)
    made = Fp16(Fp16.Options()).run(
        source, Calibration(WINDOWS, lambda: windows), work_in(tmp_path / "fp16")
    )
    assert made.facts["kept_overflowing_sum"] == 1
    assert "kept_overflow" not in made.facts
    (notice,) = made.notices
    assert notice.severity == "info"
    assert "(ReduceMean): its sum over `" in notice.text
    assert _snr(model, artifact(made, model.info)) > 55


class Steps(nn.Module):
    """Takes the mean of many values that nearly cancel."""

    def forward(self, mix: torch.Tensor) -> torch.Tensor:
        """Subtract the mean over both axes."""
        return mix - mix.mean((-1, -2), keepdim=True)


def test_a_long_sum_stays_fp32(tmp_path: Path) -> None:
    """A sum of 4,096 values stays in FP32; a running FP16 sum stops growing after 2,048 ones."""
    model = _opened(Steps())
    long = {"mix": np.ones((1, 2, 2048), np.float32)}
    source = _exported_for(model, long, tmp_path / "long")
    made = _ranged(source, tmp_path / "fp16", [long])
    assert made.facts["kept_long_sum"] == 1
    assert any("sums 4,096 values" in str(line) for line in made.facts["kept_because"])
    short = {"mix": np.ones((1, 2, 1024), np.float32)}
    source = _exported_for(model, short, tmp_path / "short")
    assert _ranged(source, tmp_path / "all", [short]).facts["float32_nodes"] == 0


def _exported_for(model: TorchModel, given: Tensors, folder: Path) -> Artifact:
    from plugins.exporter.onnx import Onnx

    made = Onnx(Onnx.Options()).run(model, given, work_in(folder))
    return artifact(made, model.info)


def test_windows_stream_and_are_told(tmp_path: Path) -> None:
    """Windows are read in a stream, at most two at a time.

    Each window is played twice, then silence once, and progress reports every play.
    """
    model, alive, most, told = separator(), [], [], []

    class Window(dict[str, np.ndarray]):
        """A window that notes its deletion."""

        def __del__(self) -> None:
            alive.pop()

    def stream() -> Iterator[Window]:
        for seed in range(WINDOWS):
            alive.append(seed)
            most.append(len(alive))
            yield Window(feeds(model, seed))

    source = exported(model, tmp_path / "export")
    folder = work_in(tmp_path / "fp16").folder
    work = StageContext(
        folder, Progress(lambda done, total, message: told.append((done, total, message)))
    )
    Fp16(Fp16.Options()).run(source, Calibration(WINDOWS, stream), work)
    assert len(most) == WINDOWS
    # The window that was just played, and the next one while the loop takes it.
    assert max(most) <= 2
    total = 2 * WINDOWS + 1
    steps = [(d, t) for d, t, message in told if message.startswith("observing")]
    assert steps == [(n + 1, total) for n in range(total)]


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        ({"mix": np.full((1, 2, 512), np.nan, np.float32)}, "2 holds nothing usable for `mix`"),
        ({}, "2 lacks the graph's input `mix`"),
        ({"mix": np.zeros((1, 3, 512), np.float32)}, "2 gives `mix` the shape 1×3×512, but the"),
    ],
    ids=["not a number", "missing", "of another shape"],
)
def test_calibration_data_that_cannot_be_used_is_refused(
    bad: dict[str, np.ndarray], said: str, tmp_path: Path
) -> None:
    """A window with NaN, without an input or of a wrong shape is refused with its number.

    One NaN would be in the range of every tensor.
    """
    model = separator()
    source = exported(model, tmp_path / "export")
    with pytest.raises(InputError, match=f"calibration window {said}"):
        _ranged(source, tmp_path / "fp16", [feeds(model), bad])


@pytest.mark.parametrize("norm", ["InstanceNormalization", "LayerNormalization"])
def test_a_norm_without_an_epsilon_stays_in_fp32(norm: str, tmp_path: Path) -> None:
    """A norm without an epsilon stays in FP32, because a silent window has no variance."""
    shape, scale = [1, 4, 64], np.ones(4 if norm.startswith("Inst") else 64)
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["h"], "conv"),
        helper.make_node(norm, ["h", "gain", "bias"], ["y"], "norm", epsilon=0.0),
    ]
    constants = {"w": np.ones((4, 4, 1)), "gain": scale, "bias": 0 * scale}
    model = graph(nodes, {"x": shape}, {"y": shape}, constants)
    given = windows(lambda random: {"x": random.standard_normal(shape)})
    made = lowered(Fp16(Fp16.Options()), model, given, tmp_path)
    assert worst_db(model, made, given) > 60
    assert any("norm" in str(reason) for reason in made.facts["kept_because"])


def test_a_tensor_of_no_values_is_not_told_as_an_overflow(tmp_path: Path) -> None:
    """An empty tensor, such as a model's first past, is not reported as an overflow."""
    nodes = [
        helper.make_node("Concat", ["past", "x"], ["c"], "cat", axis=2),
        helper.make_node("Conv", ["c", "w"], ["y"], "conv"),
    ]
    inputs = {"x": [1, 4, 8], "past": [1, 4, 0]}
    model = graph(nodes, inputs, {"y": [1, 4, 8]}, {"w": np.ones((4, 4, 1))})
    given = windows(
        lambda random: {"x": random.standard_normal((1, 4, 8)), "past": np.zeros((1, 4, 0))}
    )
    made = lowered(Fp16(Fp16.Options()), model, given, tmp_path)
    assert made.facts["float32_nodes"] == 0
    assert [n.text for n in made.notices if n.severity == "warning"] == []


def test_no_window_is_as_no_data(tmp_path: Path) -> None:
    """A stream without windows is treated like missing calibration data.

    Items shorter than a window may give no window.
    """
    source = exported(separator(), tmp_path / "export")
    made = Fp16(Fp16.Options()).run(source, Calibration(3, lambda: ()), work_in(tmp_path / "fp16"))
    assert made.facts["float32_nodes"] == 1
    assert "no calibration data" in made.notices[0].text


def test_what_a_recipe_names_stays_fp32(tmp_path: Path) -> None:
    """Operators that a recipe names stay in FP32, besides the nodes that the ranges keep."""
    model = separator()
    source = exported(model, tmp_path / "export")
    made = _ranged(source, tmp_path / "fp16", _windows(model), keep_float32=["Conv"])
    assert made.facts["float32_nodes"] == 2


def test_keeping_everything_changes_nothing(tmp_path: Path) -> None:
    """With every node kept in FP32, not even inputs and outputs are rounded."""
    model = hybrid()
    made = _listed(exported(model, tmp_path / "export"), tmp_path / "fp16", keep_float32=["*"])
    given = feeds(model)
    for name, expected in outputs(model, given).items():
        assert snr_db(expected, played(made, given)[name]) > 100
    assert made.facts["casts"] == 0


class Counted(nn.Module):
    """Weights by a softmax over truth values, and attends; its export casts floats to floats."""

    def forward(self, mix: torch.Tensor) -> torch.Tensor:
        """Count."""
        weighed = torch.softmax((mix > 0).float(), -1) * mix
        return nn.functional.scaled_dot_product_attention(weighed, weighed, mix)


def test_a_cast_of_the_graphs_own_stays(tmp_path: Path) -> None:
    """An FP32 node reads truth values or FP16 results through the graph's own cast."""
    model = _opened(Counted())
    made = _listed(exported(model, tmp_path / "export"), tmp_path / "fp16")
    onnx.checker.check_model(onnx.load(made.path), full_check=True)
    given = feeds(model)
    assert snr_db(outputs(model, given)["out"], played(made, given)["out"]) > 55


@pytest.mark.parametrize("windows", [0, WINDOWS])
def test_weights_beyond_fp16_stay_and_are_named(windows: int, tmp_path: Path) -> None:
    """A node with weights beyond 65,504 stays in FP32 and is named, with and without data."""
    model = separator()
    with torch.no_grad():
        model.core.up.bias[:] = 1e6
    source = exported(model, tmp_path / "export")
    given = _windows(model)[:windows]
    made = Fp16(Fp16.Options()).run(
        source, Calibration(windows, lambda: given), work_in(tmp_path / "fp16")
    )
    (warning,) = (n.text for n in made.notices if n.severity == "warning")
    assert "(ConvTranspose): " in warning
    if windows:  # without data, the size of later tensors is unknown
        expected = outputs(model, feeds(model))["stems"]
        actual = played_in_half(made.path, feeds(model))["stems"]
        assert (
            snr_db(expected - 1_000_000, actual - 1_000_000) > 15
        )  # FP32 itself has steps of 1/16 at a million


def test_weights_beside_the_graph_are_converted(tmp_path: Path) -> None:
    """A model with its weights in a second file is converted whole."""
    model = separator()
    source = exported(model, tmp_path / "export", external_data=ExternalData.always)
    made = _ranged(source, tmp_path / "fp16", _windows(model))
    given = feeds(model)
    assert snr_db(outputs(model, given)["stems"], played(made, given)["stems"]) > 55


def test_a_pattern_that_matches_nothing_is_refused(tmp_path: Path) -> None:
    """A misspelt operator in `keep_float32` is refused, with the nearest name."""
    source = exported(separator(), tmp_path / "export")
    with pytest.raises(StageError, match="`keep_float32` has `Sigmoidd`") as caught:
        _listed(source, tmp_path / "fp16", keep_float32=["Sigmoidd"])
    assert "did you mean `Sigmoid`" in str(caught.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [({"windows": -1}, "`windows` cannot be -1"), ({"headroom": 0.5}, "`headroom` cannot be 0.5")],
)
def test_numbers_that_cannot_be_are_refused(options: dict[str, float], message: str) -> None:
    """A number that is out of range is refused by the name of its option."""
    with pytest.raises(ValueError, match=message):
        Fp16.Options(**options)
