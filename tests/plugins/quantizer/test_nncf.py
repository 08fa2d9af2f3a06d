"""The quantizer `nncf` quantises with NNCF, in a process of its own, and holds a limit if asked."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import onnx
import pytest

from core import Artifact, Calibration, StageContext, StageError, StageResult
from core.conformance import QuantizerSuite
from core.measure.metrics import snr_db
from core.plugin.progress import Progress
from plugins.quantizer.nncf import Bias, Nncf, NncfOptions
from plugins.runtime.openvino import OpenVino
from tests.optional import needs
from tests.plugins.networks import artifact, exported, feeds, hybrid, outputs, played, work_in

pytestmark = needs("nncf", "needs NNCF: pip install 'luthier[nncf]'")
MODEL = hybrid()
TESTED = feeds(MODEL, seed=99)

Quantise = Callable[..., StageResult]


class TestConformance(QuantizerSuite):
    """`nncf` keeps every quantizer's contract."""

    plugin = Nncf
    options = NncfOptions(windows=8)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    """Return a network with convolutions, products, an attention and two outputs, as a graph."""
    return exported(MODEL, tmp_path_factory.mktemp("float") / "export")


@pytest.fixture
def quantise(source: Artifact, tmp_path: Path) -> Quantise:
    """Return a function that quantises the network with these options."""

    def run(told: list[str] | None = None, **options: object) -> StageResult:
        quantizer = Nncf(NncfOptions(**{"windows": 8, **options}))  # type: ignore[arg-type]
        count = quantizer.calibration_windows
        given = Calibration(count, lambda: (feeds(MODEL, seed) for seed in range(count)))
        heard = [] if told is None else told
        progress = Progress(lambda _done, _total, message: heard.append(message))
        work = StageContext(work_in(tmp_path / "nncf").folder, progress)
        return quantizer.run(source, given, work)

    return run


def _worst_db(source: Artifact, made: StageResult) -> float:
    got = played(artifact(made, source.info), TESTED)
    expected = outputs(MODEL, TESTED)
    return min(snr_db(expected[name], got[name]) for name in expected)


def test_products_and_attention_read_integers(
    source: Artifact, quantise: Quantise, capfd: pytest.CaptureFixture[str]
) -> None:
    """The graph stays near the float graph, its facts count integers, and nothing is printed."""
    told: list[str] = []
    made = quantise(told)
    assert _worst_db(source, made) > 17
    assert made.facts["weights_8_bit"] == 3
    assert int(str(made.facts["quantised_nodes"])) >= 5
    assert made.facts["calibration_windows"] == 8
    assert "snr_db" not in made.facts
    assert [n.text for n in made.notices] == []
    assert capfd.readouterr() == ("", "")
    assert "loading NNCF" in told, "it takes seconds"


def test_openvino_plays_it(source: Artifact, quantise: Quantise, tmp_path: Path) -> None:
    """OpenVINO computes the same from it as ONNX Runtime, but for how each rounds."""
    pytest.importorskip("openvino")
    made = artifact(quantise(), source.info)
    runtime = OpenVino(OpenVino.Options())

    def no_model() -> object:
        raise AssertionError

    compiled = artifact(runtime.compile(made, work_in(tmp_path / "ir")), source.info)
    with runtime.open(compiled, no_model, work_in(tmp_path / "open")) as session:  # type: ignore[arg-type]
        got = session.run(TESTED)
    expected = played(made, TESTED)
    assert min(snr_db(expected[name], got[name]) for name in expected) > 25


def test_operators_are_reverted_until_the_limit_holds(source: Artifact, quantise: Quantise) -> None:
    """The reverted operators are named, read floats in the graph, and others still integers."""
    made = quantise(min_snr_db=38.0, held_windows=2)
    before, after = (float(str(made.facts[name])) for name in ("quantised_snr_db", "snr_db"))
    assert before < 38 <= after
    names = made.facts["reverted"]
    assert isinstance(names, list)
    assert names
    assert int(str(made.facts["quantised_nodes"])) > 0
    graph = onnx.load(made.path).graph
    read = {node.output[0] for node in graph.node if node.op_type == "DequantizeLinear"}
    by_name = {node.name: node for node in graph.node}
    assert not any(read.intersection(by_name[str(name)].input) for name in names)
    assert "were reverted to float" in made.notices[0].text
    assert _worst_db(source, made) > 33


def test_a_limit_that_cannot_be_held_is_an_error(quantise: Quantise) -> None:
    """The error says what was reached, and how many operators were reverted for it."""
    with pytest.raises(StageError, match="does not reach `min_snr_db` 60: ") as caught:
        quantise(min_snr_db=60.0, held_windows=2, most_reverted=1)
    assert "with none" in caught.value.what
    assert "quantizer.most_reverted" in str(caught.value)


def test_what_is_excluded_stays_float(quantise: Quantise) -> None:
    """Excluded operators keep weights in float."""
    made = quantise(exclude=["Conv"], bias_correction=Bias.none)
    assert made.facts["weights_8_bit"] == 1


def test_it_reports_nothing() -> None:
    """NNCF takes its stand-in for the library that would report each call."""
    code = "import core\nfrom nncf.telemetry import telemetry\nprint(type(telemetry).__module__)"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines()[-1] == "unittest.mock"
