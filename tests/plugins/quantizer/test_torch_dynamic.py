"""The quantizer `torch_dynamic` gives INT8 linear layers with ranges from the data at run time."""

from __future__ import annotations

from pathlib import Path

import pytest

from core import Artifact, Calibration, StageError
from core.conformance import QuantizerSuite
from core.measure.metrics import snr_db
from plugins.quantizer.torch_dynamic import TorchDynamic
from tests.optional import needs
from tests.plugins.networks import (
    artifact,
    feeds,
    hybrid,
    outputs,
    played_by_torch,
    program,
    separator,
    work_in,
)

pytestmark = needs("torchao")
NONE = Calibration(0, lambda: ())


def _quantised(source: Artifact, folder: Path, **options: object) -> Artifact:
    made = TorchDynamic(TorchDynamic.Options(**options)).run(source, NONE, work_in(folder))
    return artifact(made, source.info)


class TestConformance(QuantizerSuite):
    """`torch_dynamic` keeps every quantizer's contract, on a model with a linear layer."""

    plugin = TorchDynamic

    def given(self, folder: Path) -> Artifact:
        """Write a program with linear layers, for the suite's own input."""
        import torch

        from core.conformance.converter import artifact as described
        from core.conformance.converter import feeds as small
        from core.formats.torch_export import save

        torch.manual_seed(0)
        core = torch.nn.Sequential(torch.nn.Linear(16, 32), torch.nn.ReLU(), torch.nn.Linear(32, 4))
        folder.mkdir(parents=True)
        saved = torch.export.export(core.eval(), (torch.from_numpy(small()["x"]),))
        save(saved, folder / "model.pt2")
        return described(folder, folder / "model.pt2", "torch_export", "fp32")


def test_ranges_come_with_the_data(tmp_path: Path) -> None:
    """An input 100 times louder loses no more, because nothing is calibrated."""
    model = hybrid()
    made = _quantised(program(model, tmp_path / "export"), tmp_path / "int8")
    for gain in (1, 100):
        given = {name: array * gain for name, array in feeds(model, seed=9).items()}
        actual, expected = played_by_torch(made, given), outputs(model, given)
        assert snr_db(expected["spec_out"], actual["spec_out"]) > 30


def test_only_linear_layers_are_quantised(tmp_path: Path) -> None:
    """Only linear layers get integer weights in the file, and convolutions stay unchanged."""
    made = _quantised(program(hybrid(), tmp_path / "export"), tmp_path / "int8")
    assert made.facts["nodes_by_precision"]["w8a8"] == 1
    assert made.number("quantised_nodes") == 1
    assert made.precision == "dynamic"


def test_it_wants_no_calibration_data() -> None:
    """The quantizer needs no calibration data."""
    assert TorchDynamic(TorchDynamic.Options()).calibration_windows == 0


def test_a_model_without_linear_layers_is_refused(tmp_path: Path) -> None:
    """A model without linear layers is refused, and the message says what to do."""
    with pytest.raises(StageError, match="no linear with constant weights") as caught:
        _quantised(program(separator(), tmp_path / "export"), tmp_path / "int8")
    assert any("quantizer=none" in line for line in caught.value.lines)
