"""The exporter `torch_export`: its files, folding, proof and refusals."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from core import ModelInfo, Signature, StageError, TensorSpec, TorchModel
from core.conformance import ExporterSuite
from plugins.exporter import torch_export
from plugins.exporter.torch_export import TorchExport
from tests.plugins.networks import (
    feeds,
    hybrid,
    normed,
    outputs,
    played_by_torch,
    program,
    separator,
    work_in,
)


class TestConformance(ExporterSuite):
    """`torch_export` keeps every exporter's contract."""

    plugin = TorchExport


def test_program_computes_what_the_module_does(tmp_path: Path) -> None:
    """The program computes the module's outputs by name, on inputs that the export never saw."""
    model = hybrid()
    made = program(model, tmp_path / "export")
    given = feeds(model, seed=5)
    actual, expected = played_by_torch(made, given), outputs(model, given)
    assert list(actual) == ["time_out", "spec_out"]
    for name in expected:
        np.testing.assert_allclose(actual[name], expected[name], atol=1e-5)
    assert made.facts["verify_snr_db"] > 100
    assert made.facts["inputs"] == ["mix float32 1×2×512", "mag float32 1×4×6×5"]


def test_batch_norms_are_folded_into_convolutions(tmp_path: Path) -> None:
    """Batch norms fold into convolutions in 1-D and 2-D and into a transposed convolution.

    The result is the same, with fewer operators.
    """
    model, given = normed(), feeds(normed(), seed=5)
    plain = program(model, tmp_path / "plain", fold_batch_norms=False)
    folded = program(model, tmp_path / "folded")
    assert plain.facts["operators"]["batch_norm"] == 3
    assert folded.facts["folded_batch_norms"] == 3
    assert folded.number("nodes") == plain.number("nodes") - 3
    np.testing.assert_allclose(
        played_by_torch(folded, given)["stems"], outputs(model, given)["stems"], atol=1e-4
    )
    # A convolution may gain a bias, but the statistics are gone.
    assert folded.number("parameters") < plain.number("parameters")


class Shared(nn.Module):
    """Reads a convolution twice: through a batch norm, and directly."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv1d(2, 4, 1), nn.BatchNorm1d(4)

    def forward(self, mix: torch.Tensor) -> torch.Tensor:
        """Return the sum of both."""
        hidden = self.conv(mix)
        return (self.norm(hidden) + hidden).view(1, 2, 2, -1)


class Grouped(nn.Module):
    """A transposed convolution with groups, before a batch norm."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.ConvTranspose1d(2, 4, 1, groups=2), nn.BatchNorm1d(4)
        nn.init.normal_(self.norm.weight)

    def forward(self, mix: torch.Tensor) -> torch.Tensor:
        """Separate."""
        return self.norm(self.conv(mix)).view(1, 2, 2, -1)


def _opened(core: nn.Module, *names: str) -> TorchModel:
    spec = TensorSpec("mix", ("channel", "time"), (2, "time"))
    info = ModelInfo(Signature((spec,), ()), ("mix",), names)
    return TorchModel(info, core.eval(), separator().reference)


@pytest.mark.parametrize("core", [Shared, Grouped])
def test_a_batch_norm_that_does_not_fold_stays(core: type[nn.Module], tmp_path: Path) -> None:
    """A batch norm stays behind a convolution with another reader or with transposed groups."""
    made = program(_opened(core(), "stems"), tmp_path / "export")
    assert made.facts["folded_batch_norms"] == 0
    assert made.facts["operators"]["batch_norm"] == 1


class Branching(nn.Module):
    """Branches on a value."""

    def forward(self, mix: torch.Tensor) -> torch.Tensor:
        """Return the input, or twice the input."""
        return mix if mix.sum() > 0 else mix * 2


def test_a_program_that_differs_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A program that differs is refused; the message names the output and the two compared."""
    model = normed()

    def halved(module: torch.fx.GraphModule) -> int:
        for parameter in module.parameters():
            parameter.data *= 0.5
        return 1

    monkeypatch.setattr(torch_export, "fold_batch_norms", halved)
    with pytest.raises(StageError, match=r"output `stems` has -?\d+\.\d dB SNR") as caught:
        program(model, tmp_path / "export")
    assert "the program against the torch module" in str(caught.value)


def test_a_dsp_of_another_model_is_refused(tmp_path: Path) -> None:
    """A dsp that lacks one of the core's inputs is refused by the name of the input."""
    exporter = TorchExport(TorchExport.Options())
    with pytest.raises(StageError, match="the dsp gives no `mag`"):
        exporter.run(hybrid(), feeds(separator()), work_in(tmp_path / "export"))


def test_a_program_serves_one_length() -> None:
    """A program has one length, so the plan asks for windows."""
    assert not TorchExport(TorchExport.Options()).dynamic
