"""The graph plugin `onnxsim` gives fewer nodes and the same result, with proof."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest

from core import Artifact, StageError, StageResult
from core.plugin.progress import silent
from plugins.exporter._onnx import ExternalData
from plugins.graph._same_result import check_same
from plugins.graph.onnxsim import Onnxsim
from tests.plugins.networks import (
    artifact,
    exported,
    feeds,
    hybrid,
    played,
    separator,
    work_in,
)


def _simplified(source: Artifact, folder: Path, **options: object) -> Artifact:
    made = Onnxsim(Onnxsim.Options(**options)).run(source, work_in(folder))
    return replace(artifact(made, source.info), notices=made.notices)


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Artifact, Artifact]:
    """Simplify a graph with external weights, in a folder with a misleading file `onnxsim.py`."""
    folder = tmp_path_factory.mktemp("pair")
    (folder / "onnxsim.py").write_text("raise RuntimeError('the wrong file')")
    before = exported(hybrid(), folder / "export", external_data=ExternalData.always)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        return before, _simplified(before, folder / "graph")


def test_fewer_nodes_compute_the_same(pair: tuple[Artifact, Artifact]) -> None:
    """Shape arithmetic is folded; outputs keep their names, order and values."""
    before, after = pair
    assert after.facts["nodes"] < after.facts["nodes_before"] == before.facts["nodes"]
    assert "Shape" not in after.facts["operators"]
    assert after.facts["verify_snr_db"] > 100
    given = feeds(hybrid(), seed=3)
    first, second = played(before, given), played(after, given)
    assert list(first) == list(second)
    for name in first:
        np.testing.assert_allclose(first[name], second[name], atol=1e-5)


def test_weights_beside_the_graph_come_in(pair: tuple[Artifact, Artifact]) -> None:
    """A model of two files is read whole, and the small result is one file and nothing else."""
    before, after = pair
    assert (Path(before.folder) / "model.onnx.data").exists()
    assert [p.name for p in Path(after.folder).iterdir()] == ["model.onnx"]


def test_a_free_axis_needs_a_length_to_be_checked(tmp_path: Path) -> None:
    """A graph with a free axis is compared only with a length; without one a notice says so."""
    source = exported(separator(), tmp_path / "export", dynamic=True)
    unproven = _simplified(source, tmp_path / "unproven")
    assert "verify_snr_db" not in unproven.facts
    assert "`mix_time` is free" in unproven.notices[0].text
    proven = _simplified(source, tmp_path / "proven", sizes={"mix_time": 256})
    assert proven.facts["verify_snr_db"] > 100
    assert proven.notices == ()


def test_a_graph_that_differs_is_refused(tmp_path: Path) -> None:
    """A bias that changed by 0.01 is found, and the error names the output."""
    source = exported(separator(), tmp_path / "export")
    changed = onnx.load(source.path)
    bias = next(t for t in changed.graph.initializer if t.name == "up.bias")
    bias.raw_data = (np.frombuffer(bias.raw_data, np.float32) + 0.01).tobytes()
    onnx.save(changed, tmp_path / "changed.onnx")
    with pytest.raises(StageError, match=r"output `stems` has \d+\.\d dB SNR, below 90 dB"):
        check_same(Path(source.path), tmp_path / "changed.onnx", 1, 90.0, {}, silent())


def test_a_damaged_graph_ends_in_one_message(tmp_path: Path) -> None:
    """A graph with an input that nothing makes ends in one message."""
    source = exported(separator(), tmp_path / "export")
    graph = onnx.load(source.path)
    graph.graph.node[0].input[0] = "nowhere"
    onnx.save(graph, source.path)
    with pytest.raises(StageError, match=r"onnxsim cannot simplify the graph"):
        _simplified(source, tmp_path / "graph")


def test_a_negative_number_of_checks_is_refused() -> None:
    """A negative number of checks is refused by the name of the option."""
    with pytest.raises(ValueError, match="`check_n` cannot be -1"):
        Onnxsim.Options(check_n=-1)


def test_without_a_check_nothing_is_claimed_or_printed(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Without checks there is no figure, no notice and no output on the terminal."""
    made = _simplified(exported(separator(), tmp_path / "export"), tmp_path / "graph", check_n=0)
    assert "verify_snr_db" not in made.facts
    assert made.notices == ()
    assert capfd.readouterr() == ("", "")


def test_weights_that_an_old_format_lists_as_inputs_are_weights(tmp_path: Path) -> None:
    """Weights that a graph of format version 3 (PyTorch, 2017) lists as inputs are weights.

    onnxsim itself refuses this graph, and folds nothing in other such graphs.
    """
    file = Path(onnx.__file__).parent / "backend/test/data/pytorch-converted/test_PixelShuffle"
    before = onnx.load(file / "model.onnx")
    assert before.ir_version == 3
    work = work_in(tmp_path / "old")
    onnx.save(before, work.folder / "model.onnx")
    source = artifact(StageResult(work.folder / "model.onnx", "onnx", "fp32"), separator().info)
    after = _simplified(source, tmp_path / "graph")
    assert after.facts["verify_snr_db"] == 200
    assert [value.name for value in onnx.load(after.path).graph.input] == ["0"]
