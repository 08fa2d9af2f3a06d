from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from core import Artifact, Calibration, InputError, StageContext
from core.conformance import QuantizerSuite
from core.conformance.converter import feeds, onnx_artifact
from core.plugin.progress import silent
from plugins.quantizer.qai_hub import Activation, HubQuantizer, HubQuantizerOptions
from tests.hub.account import account, hurried, loopback_only
from tests.hub.cloud import Cloud
from tests.plugins.graphs import INFO, worst_db
from tests.plugins.quantizer.test_masks import attention, fed


@pytest.fixture(autouse=True)
def cloud(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cloud]:
    """Give every test an account of the stand-in service."""
    loopback_only(monkeypatch)
    hurried(monkeypatch)
    with account(tmp_path / "cloud", monkeypatch) as served:
        yield served


class TestConformance(QuantizerSuite):
    """`qai_hub` keeps every quantizer's contract."""

    plugin = HubQuantizer
    options: ClassVar[HubQuantizerOptions] = HubQuantizerOptions(windows=24, poll_s=0.01)


@pytest.fixture
def work(tmp_path: Path) -> StageContext:
    """Return a work folder with a state folder beside it."""
    (tmp_path / "work").mkdir()
    return StageContext(tmp_path / "work", silent(), tmp_path / "state")


def test_wide_activations_make_another_precision(
    tmp_path: Path, cloud: Cloud, work: StageContext
) -> None:
    """With `activation=int16` the graph has 16-bit activations and the precision `w8a16`."""
    options = HubQuantizerOptions(activation=Activation.int16, windows=2, poll_s=0.01)
    calibration = Calibration(2, lambda: (feeds(seed) for seed in range(2)))
    made = HubQuantizer(options).run(onnx_artifact(tmp_path / "given"), calibration, work)
    assert made.precision == "w8a16"
    types = {t.data_type for t in onnx.load(str(made.path)).graph.initializer}
    assert onnx.TensorProto.UINT16 in types
    assert made.facts["windows"] == 2
    assert [name.rpartition("-")[0] for name in cloud.names()] == ["luthier-quantize"]


@pytest.mark.parametrize("broken", ["nan", "missing", "none"])
def test_calibration_that_cannot_be_used_is_refused_before_it_is_sent(
    tmp_path: Path, cloud: Cloud, work: StageContext, broken: str
) -> None:
    """Unusable calibration data is refused before any request to the service."""
    bad = {"nan": [{"x": np.full_like(feeds(0)["x"], np.nan)}], "missing": [{}], "none": []}[broken]
    with pytest.raises(InputError, match="calibration"):
        HubQuantizer(HubQuantizerOptions()).run(
            onnx_artifact(tmp_path / "given"), Calibration(1, lambda: bad), work
        )
    assert cloud.log == []


def test_masks_come_nearer_before_the_graph_is_sent(tmp_path: Path, work: StageContext) -> None:
    """Infinite mask values are replaced before the upload.

    Beside -inf, the service's ranges would leave the scores no step.
    """
    model = attention(-np.inf)
    source = tmp_path / "given" / "model.onnx"
    source.parent.mkdir()
    onnx.save(model, source)
    artifact = Artifact(str(source.parent), str(source), "onnx", "fp32", "", 0, model=INFO)
    given = fed(model, 2)
    options = HubQuantizerOptions(windows=2, poll_s=0.01)
    made = HubQuantizer(options).run(artifact, Calibration(2, lambda: given), work)
    assert "mask with values too large" in made.notices[0].text
    constants = map(numpy_helper.to_array, onnx.load(made.path).graph.initializer)
    assert all(np.isfinite(values).all() for values in constants)
    assert worst_db(model, made, given) > 15
