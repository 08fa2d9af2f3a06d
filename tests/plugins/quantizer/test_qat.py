"""The quantizer `qat` trains 8-bit graphs to match the float graph."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import onnx
import pytest
import torch

from core import (
    Artifact,
    ArtifactSpec,
    Calibration,
    InputError,
    Progress,
    StageContext,
    StageResult,
    Tensors,
)
from core.conformance import QuantizerSuite
from core.measure.metrics import snr_db
from plugins.quantizer._onnx.calibration.collect import Method
from plugins.quantizer.qat import Activation, Qat, QatOptions
from tests.plugins.networks import artifact, exported, feeds, hybrid, outputs, played, work_in

WINDOWS = 12
#: Ranges of extremes leave room to learn; those of least squared error are near the best.
START = {"windows": WINDOWS, "steps": 60, "method": Method.minmax}


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """Compute tiny networks in one thread, because threads wait long on a busy machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


class TestConformance(QuantizerSuite):
    """`qat` keeps every quantizer's contract."""

    plugin = Qat
    options: ClassVar[QatOptions] = QatOptions(windows=8, steps=20)


def _windows(seed: int = 0) -> list[Tensors]:
    """Return windows; windows of another seed differ from these."""
    return [feeds(hybrid(), seed + index) for index in range(WINDOWS)]


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    """Return a small network, exported in float."""
    return exported(hybrid(), tmp_path_factory.mktemp("given") / "export")


def _made(given: Artifact, folder: Path, **options: Any) -> StageResult:
    quantizer = Qat(Qat.Options(**{**START, **options}))
    return quantizer.run(given, Calibration(WINDOWS, _windows), work_in(folder))


@pytest.fixture(scope="module")
def static(given: Artifact, tmp_path_factory: pytest.TempPathFactory) -> StageResult:
    """Return the graph with the initial ranges of the training."""
    return _made(given, tmp_path_factory.mktemp("static") / "work", steps=0)


@pytest.fixture(scope="module")
def learned(given: Artifact, tmp_path_factory: pytest.TempPathFactory) -> StageResult:
    """Return the trained graph."""
    return _made(given, tmp_path_factory.mktemp("learned") / "work")


def _snr(given: Artifact, made: StageResult) -> float:
    """Return the SNR on windows outside the calibration and the training."""
    expected, actual = [], []
    for window in _windows(100):
        expected.append(outputs(hybrid(), window))
        actual.append(played(artifact(made, given.info), window))
    joined = [
        np.concatenate([tensors[name].ravel() for tensors in every for name in expected[0]])
        for every in (expected, actual)
    ]
    return snr_db(*joined)


def test_learning_comes_nearer_to_the_float_graph(
    given: Artifact, static: StageResult, learned: StageResult
) -> None:
    """Training gains over 0.2 dB on new windows and on the held-back windows of the facts."""
    assert _snr(given, learned) > _snr(given, static) + 0.2
    facts = learned.facts
    assert float(str(facts["snr_after_db"])) > float(str(facts["snr_before_db"])) + 0.2
    assert facts["snr_before_db"] == static.facts["snr_after_db"]
    assert learned.notices[-1].severity == "info"


def test_the_structure_is_that_of_static_quantisation(
    static: StageResult, learned: StageResult
) -> None:
    """The trained graph differs from the static graph in numbers only.

    So a runtime that takes the static graph takes the trained one.
    """
    graphs = [onnx.load(str(made.path)).graph for made in (static, learned)]
    assert list(graphs[0].node) == list(graphs[1].node)
    kinds = [
        [(tensor.name, list(tensor.dims), tensor.data_type) for tensor in graph.initializer]
        for graph in graphs
    ]
    assert kinds[0] == kinds[1]
    assert list(graphs[0].initializer) != list(graphs[1].initializer)


def test_a_seed_gives_the_same_graph_again(
    given: Artifact, learned: StageResult, tmp_path: Path
) -> None:
    """The same seed gives the same bytes, and another seed gives others."""
    again, other = (_made(given, tmp_path / str(seed), seed=seed) for seed in (0, 1))
    assert learned.path.read_bytes() == again.path.read_bytes() != other.path.read_bytes()


def test_what_learning_made_worse_is_thrown_away(
    given: Artifact, static: StageResult, tmp_path: Path
) -> None:
    """If training makes the network worse, the static graph is kept, with a warning."""
    wild = _made(given, tmp_path / "wild", steps=6, learning_rate=0.99)
    assert wild.facts["best_step"] == 0
    assert wild.path.read_bytes() == static.path.read_bytes()
    assert wild.notices[-1].severity == "warning"
    assert "learning did not improve" in wild.notices[-1].text


@pytest.mark.parametrize(
    ("activation", "precision"), [(Activation.uint8, "int8"), (Activation.uint16, "w8a16")]
)
def test_the_plan_says_what_comes_out(
    given: Artifact, activation: Activation, precision: str, tmp_path: Path
) -> None:
    """The plan has the precision of the artifact."""
    quantizer = Qat(Qat.Options(activation=activation, windows=5))
    assert quantizer.calibration_windows == 5
    assert quantizer.plan(ArtifactSpec("onnx")) == ArtifactSpec("onnx", precision)
    assert _made(given, tmp_path / "work", activation=activation, steps=1).precision == precision


def test_every_step_is_told(given: Artifact, tmp_path: Path) -> None:
    """Progress reports every step of the training with its SNR."""
    told: list[tuple[float, float, str]] = []
    progress = Progress(lambda done, total, message: told.append((done, total, message)))
    work = StageContext(work_in(tmp_path / "work").folder, progress)
    quantizer = Qat(Qat.Options(windows=WINDOWS, steps=7))
    quantizer.run(given, Calibration(WINDOWS, _windows), work)
    learning = [
        (done, total) for done, total, message in told if message.startswith("learning: SNR")
    ]
    assert learning == [(step, 7) for step in range(7)]


def test_one_window_is_enough_to_run(given: Artifact, tmp_path: Path) -> None:
    """A single window serves both training and evaluation."""
    quantizer = Qat(Qat.Options(windows=1, steps=2))
    made = quantizer.run(given, Calibration(1, lambda: _windows()[:1]), work_in(tmp_path / "work"))
    assert made.facts["calibration_windows"] == 1


def test_no_calibration_data_is_refused(given: Artifact, tmp_path: Path) -> None:
    """Calibration data without windows is refused."""
    with pytest.raises(InputError, match="the calibration data has no windows"):
        Qat(Qat.Options()).run(given, Calibration(3, lambda: ()), work_in(tmp_path / "work"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"windows": 0}, "`windows` cannot be 0"),
        ({"steps": -1}, "`steps` cannot be -1"),
        ({"learning_rate": 0.0}, "`learning_rate` cannot be 0.0"),
    ],
)
def test_numbers_that_cannot_be_are_refused(options: dict[str, Any], message: str) -> None:
    """A number that is out of range is refused by the name of its option."""
    with pytest.raises(ValueError, match=message):
        Qat.Options(**options)
