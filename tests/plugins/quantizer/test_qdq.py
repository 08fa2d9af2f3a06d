"""The quantizer `qdq` takes ranges from a stream of windows and makes operators integer."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

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
    StageResult,
    TorchModel,
)
from core.conformance import QuantizerSuite, converter
from core.measure.metrics import snr_db
from core.plugin.progress import silent
from plugins.exporter._onnx import ExternalData
from plugins.quantizer._onnx.calibration.collect import Method
from plugins.quantizer._onnx.qdq.graph import ENOUGH
from plugins.quantizer.qdq import Activation, Qdq, QdqOptions, Weight
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

WINDOWS = 6
#: Versions that the installed ONNX Runtime reads; the newest onnx may write newer ones.
VERSIONS = {"opset_imports": [helper.make_opsetid("", 20)], "ir_version": 10}


def _calibration(model: TorchModel) -> Calibration:
    return Calibration(WINDOWS, lambda: (feeds(model, seed) for seed in range(WINDOWS)))


def _quantised(model: TorchModel, folder: Path, **options: object) -> Artifact:
    source = exported(model, folder / "export")
    made = Qdq(Qdq.Options(**options)).run(source, _calibration(model), work_in(folder / "qdq"))
    return artifact(made, model.info)


def _snr(model: TorchModel, made: Artifact) -> dict[str, float]:
    given = feeds(model, seed=99)
    expected, actual = outputs(model, given), played(made, given)
    return {name: snr_db(expected[name], actual[name]) for name in expected}


class TestConformance(QuantizerSuite):
    """`qdq` keeps every quantizer's contract."""

    plugin = Qdq


@pytest.mark.parametrize(
    ("activation", "precision"), [(Activation.uint8, "int8"), (Activation.uint16, "w8a16")]
)
def test_the_plan_says_what_comes_out(
    activation: Activation, precision: str, tmp_path: Path
) -> None:
    """The plan has the precision of the artifact."""
    options = {"activation": activation, "windows": 5}
    quantizer = Qdq(Qdq.Options(**options))
    assert quantizer.calibration_windows == 5
    assert quantizer.plan(ArtifactSpec("onnx")) == ArtifactSpec("onnx", precision)
    assert _quantised(separator(), tmp_path, **options).spec == ArtifactSpec("onnx", precision)


@pytest.mark.parametrize("network", [separator, hybrid])
def test_8_bits_are_near_and_16_nearer(network: type, tmp_path: Path) -> None:
    """On new inputs, 8 bits give over 25 dB, and 16 bits over 8 dB more, on every output."""
    model = network()
    narrow = _snr(model, _quantised(model, tmp_path / "8"))
    wide = _snr(model, _quantised(model, tmp_path / "16", activation=Activation.uint16))
    for name, value in narrow.items():
        assert 25 < value < 45
        assert wide[name] > value + 8


@pytest.mark.parametrize(
    "options",
    [
        {"method": Method.entropy},
        {"method": Method.percentile, "percentile": 99.9},
        {"method": Method.mse},
        {"weight": Weight.uint8},
        {"per_channel": True},
    ],
    ids=str,
)
def test_every_way_to_choose_ranges_gives_a_graph_that_plays(
    options: dict[str, object], tmp_path: Path
) -> None:
    """Every other method and type gives a graph with over 25 dB."""
    model = separator()
    assert _snr(model, _quantised(model, tmp_path, **options))["stems"] > 25


def test_facts_count_what_became_of_the_nodes(tmp_path: Path) -> None:
    """The facts count quantised nodes and the float nodes of excluded operators."""
    made = _quantised(separator(), tmp_path / "all")
    assert made.facts["quantised_nodes"] == 13
    assert made.facts["float_nodes"] == 0
    assert made.facts["calibration_windows"] == WINDOWS
    assert made.facts["bytes"] == made.bytes
    assert made.facts["operators"]["Conv"] == 2
    part = _quantised(separator(), tmp_path / "part", exclude=["Conv"])
    assert part.facts["quantised_nodes"] == 10  # the Reshape after the first Conv moves floats
    assert part.facts["float_nodes"] == 3


def test_wide_activations_get_16_bits_and_the_rest_8(tmp_path: Path) -> None:
    """Operators and tensors in `wide` get 16 bits, and the others keep 8 bits."""
    model = hybrid()
    narrow = _snr(model, _quantised(model, tmp_path / "8"))
    made = _quantised(model, tmp_path / "mixed", wide=["Softmax", "MatMul", "spec_out"])
    mixed = _snr(model, made)
    assert mixed["spec_out"] > narrow["spec_out"] + 5
    assert abs(mixed["time_out"] - narrow["time_out"]) < 1
    assert made.precision == "int8"
    types = {
        tensor.data_type
        for tensor in onnx.load(made.path).graph.initializer
        if "zero_point" in tensor.name
    }
    assert {TensorProto.UINT8, TensorProto.UINT16} <= types


def test_a_wide_pattern_that_matches_nothing_is_refused(tmp_path: Path) -> None:
    """A typo in `wide` is refused; an operator that the model lacks is accepted."""
    _quantised(separator(), tmp_path / "fine", wide=["LayerNormalization"])
    with pytest.raises(StageError, match="`wide` has `Geluu`, which is neither") as caught:
        _quantised(separator(), tmp_path / "typo", wide=["Geluu"])
    assert "did you mean `Gelu`" in str(caught.value)


def test_gelu_from_erf_is_fused(tmp_path: Path) -> None:
    """A GELU written with Erf becomes one Gelu operator: an NPU has Gelu and no Erf."""
    model = separator()
    source = exported(model, tmp_path / "export", opset=17)
    made = Qdq(Qdq.Options()).run(source, _calibration(model), work_in(tmp_path / "qdq"))
    assert made.facts["operators"]["Gelu"] == 1
    assert "Erf" not in made.facts["operators"]


@pytest.mark.parametrize("method", Method)
def test_windows_are_read_in_a_stream(method: Method, tmp_path: Path) -> None:
    """Windows are read once, at most two at a time, and progress reports every window."""
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
    folder = work_in(tmp_path / "qdq").folder
    work = StageContext(
        folder, Progress(lambda done, total, message: told.append((done, total, message)))
    )
    Qdq(Qdq.Options(method=method)).run(source, Calibration(WINDOWS, stream), work)
    assert len(most) == WINDOWS
    # The window that runs, and the next one while the loop takes it.
    assert max(most) <= 2
    steps = [(d, t) for d, t, message in told if message.endswith(("every tensor",))]
    assert steps == [(n + 1, WINDOWS) for n in range(WINDOWS)]


def test_fewer_windows_than_promised_are_enough(tmp_path: Path) -> None:
    """Fewer windows than promised are accepted, and the facts have the real count."""
    model = separator()
    source = exported(model, tmp_path / "export")
    short = Calibration(24, lambda: [feeds(model)])
    made = Qdq(Qdq.Options()).run(source, short, work_in(tmp_path / "qdq"))
    assert made.facts["calibration_windows"] == 1


def test_a_quiet_window_first_makes_no_giant_histogram(tmp_path: Path) -> None:
    """A first window a million times quieter spoils neither the histogram nor the range."""
    model = separator()
    quiet = {"mix": feeds(model)["mix"] * np.float32(1e-6)}
    source = exported(model, tmp_path / "export")
    made = Qdq(Qdq.Options(method=Method.percentile)).run(
        source, Calibration(2, lambda: [quiet, feeds(model)]), work_in(tmp_path / "qdq")
    )
    assert _snr(model, artifact(made, model.info))["stems"] > 25


def test_calibration_data_that_is_not_finite_is_refused(tmp_path: Path) -> None:
    """A NaN in the calibration data is refused with its window and its tensor.

    One NaN would become the range of every tensor.
    """
    model = separator()
    bad = feeds(model)
    bad["mix"][0, 1, 7] = np.nan
    source = exported(model, tmp_path / "export")
    with pytest.raises(InputError, match=r"calibration window 2 holds .* in `mix`") as caught:
        Qdq(Qdq.Options()).run(
            source, Calibration(2, lambda: [feeds(model), bad]), work_in(tmp_path / "qdq")
        )
    assert caught.value.lines[0] == "1 of 1024 values"


def test_no_calibration_data_is_refused(tmp_path: Path) -> None:
    """Calibration data without windows is refused."""
    source = exported(separator(), tmp_path / "export")
    with pytest.raises(InputError, match="the calibration data has no windows"):
        Qdq(Qdq.Options()).run(source, Calibration(3, lambda: ()), work_in(tmp_path / "qdq"))


def test_a_graph_that_overflows_is_refused(tmp_path: Path) -> None:
    """A graph that overflows for finite inputs is refused by the name of the tensor."""
    info = ModelInfo(Signature((), ()), ("x",), ("y",))
    nodes = [
        helper.make_node("Exp", ["x"], ["huge"], name="exp"),
        helper.make_node("Neg", ["huge"], ["y"], name="neg"),
    ]
    source = _graph(nodes, TensorProto.FLOAT, tmp_path / "export", info)
    window = {"x": np.full((1, 4), 1000, np.float32)}
    with pytest.raises(StageError, match="calibration data, first in the tensor `huge`"):
        Qdq(Qdq.Options()).run(source, Calibration(1, lambda: [window]), work_in(tmp_path / "qdq"))


def test_a_graph_with_nothing_to_quantise_is_refused(tmp_path: Path) -> None:
    """A graph of whole numbers, or with every node excluded, is refused."""
    info = ModelInfo(Signature((), ()), ("x",), ("y",))
    node = helper.make_node("Neg", ["x"], ["y"], name="neg")
    whole = _graph([node], TensorProto.INT64, tmp_path / "whole", info)
    with pytest.raises(StageError, match="the graph has nothing to quantise"):
        Qdq(Qdq.Options()).run(whole, Calibration(1, lambda: ()), work_in(tmp_path / "a"))
    floats = _graph([node], TensorProto.FLOAT, tmp_path / "floats", info)
    window = {"x": np.ones((1, 4), np.float32)}
    with pytest.raises(StageError, match="the graph has nothing to quantise"):
        Qdq(Qdq.Options(exclude=["*"])).run(
            floats, Calibration(1, lambda: [window]), work_in(tmp_path / "b")
        )


def _graph(nodes: list[onnx.NodeProto], dtype: int, folder: Path, info: ModelInfo) -> Artifact:
    ends = [helper.make_tensor_value_info(name, dtype, [1, 4]) for name in "xy"]
    graph = helper.make_graph(nodes, "test", ends[:1], ends[1:])
    path = work_in(folder).folder / "model.onnx"
    onnx.save(helper.make_model(graph, **VERSIONS), path)
    return artifact(StageResult(path, "onnx", "fp32"), info)


def test_weights_beside_the_graph_are_quantised(tmp_path: Path) -> None:
    """A model with its weights in a second file is quantised whole."""
    model = separator()
    source = exported(model, tmp_path / "export", external_data=ExternalData.always)
    made = Qdq(Qdq.Options()).run(source, _calibration(model), work_in(tmp_path / "qdq"))
    assert _snr(model, artifact(made, model.info))["stems"] > 25


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"windows": 0}, "`windows` cannot be 0"),
        ({"percentile": 101}, "`percentile` cannot be 101"),
    ],
)
def test_numbers_that_cannot_be_are_refused(options: dict[str, int], message: str) -> None:
    """A number that is out of range is refused by the name of its option."""
    with pytest.raises(ValueError, match=message):
        Qdq.Options(**options)


def test_the_terminal_stays_clean(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """The messages of ONNX Runtime's calibrators and quantiser do not reach the terminal."""
    _quantised(hybrid(), tmp_path, method=Method.percentile, wide=["MatMul"])
    assert capfd.readouterr() == ("", "")


def _converted(folder: Path, given: int, **options: object) -> StageResult:
    """Quantise the small graph with that many windows of calibration data."""
    work = StageContext(folder / "work", silent())
    work.folder.mkdir()
    stream = Calibration(given, lambda: map(converter.feeds, range(given)))
    return Qdq(QdqOptions(**options)).run(converter.onnx_artifact(folder / "given"), stream, work)


def test_a_graph_that_is_not_8_bit_everywhere_says_so(tmp_path: Path) -> None:
    """A notice says how many activations have 16 bits, counted from the graph."""
    made = _converted(tmp_path, ENOUGH, edges=1, windows=ENOUGH)
    assert made.facts["activations_16_bit"] > 0
    assert f"{made.facts['activations_16_bit']} of " in made.notices[0].text


def test_a_graph_that_is_8_bit_everywhere_needs_no_word(tmp_path: Path) -> None:
    """A graph with 8 bits everywhere has no notice and no activation of 16 bits."""
    made = _converted(tmp_path, ENOUGH, windows=ENOUGH)
    assert (made.facts["activations_16_bit"], made.notices) == (0, ())
    assert made.facts["weights_8_bit"] == 2


@pytest.mark.parametrize(
    ("given", "asked", "severity", "text"),
    [
        (3, 24, "warning", "the calibration data has only 3 of the 24 requested window(s)"),
        (3, 3, "warning", f"ranges come from 3 window(s) only; {ENOUGH} are enough"),
        (ENOUGH, 64, "info", f"the calibration data has only {ENOUGH} of the 64 requested"),
    ],
)
def test_too_few_windows_are_told(
    given: int, asked: int, severity: str, text: str, tmp_path: Path
) -> None:
    """Too few windows cause a warning; fewer than requested, but enough, cause an info."""
    (notice,) = _converted(tmp_path, given, windows=asked).notices
    assert notice.severity == severity
    assert notice.text.startswith(text)
