"""The exporter `onnx`: its files, its proof, and its refusals."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from core import ModelInfo, Signature, StageError, TensorSpec, TorchModel
from plugins.exporter._onnx import ExternalData
from plugins.exporter._onnx.verify import halved
from plugins.exporter.onnx import Onnx
from tests.plugins.networks import (
    SAMPLES,
    exported,
    feeds,
    hybrid,
    outputs,
    played,
    separator,
    work_in,
)


def test_graph_computes_what_pytorch_does(tmp_path: Path) -> None:
    """The graph agrees with PyTorch by over 100 dB, on inputs that the export never saw."""
    model = separator()
    made = exported(model, tmp_path / "export")
    given = feeds(model, seed=5)
    actual = played(made, given)["stems"]
    np.testing.assert_allclose(actual, outputs(model, given)["stems"], atol=1e-5)
    assert made.facts["verify_snr_db"] > 100


def test_facts_describe_the_graph(tmp_path: Path) -> None:
    """The facts list names, types and shapes of the tensors, and count operators and parameters."""
    facts = exported(hybrid(), tmp_path / "export").facts
    assert facts["inputs"] == ["mix float32 1×2×512", "mag float32 1×4×6×5"]
    assert facts["outputs"] == ["time_out float32 1×4×512", "spec_out float32 1×30×8"]
    assert facts["operators"]["Conv"] == 2
    assert facts["opset"] == 20
    assert facts["parameters"] == sum(p.numel() for p in hybrid().core.parameters())


def test_gelu_is_one_operator_from_opset_20(tmp_path: Path) -> None:
    """GELU is one operator from opset 20 on; below, it becomes arithmetic with Erf."""
    new = exported(separator(), tmp_path / "20")
    old = exported(separator(), tmp_path / "17", opset=17)
    assert new.facts["operators"]["Gelu"] == 1
    assert old.facts["operators"]["Erf"] == 1
    assert old.facts["opset"] == 17


def test_dynamic_graph_serves_another_length(tmp_path: Path) -> None:
    """A dynamic graph takes another length along the axis that the signature leaves open."""
    model = separator()
    made = exported(model, tmp_path / "export", dynamic=True)
    given = feeds(model, samples=1024)
    assert made.facts["inputs"] == ["mix float32 1×2×mix_time"]
    assert made.facts["outputs"] == ["stems float32 1×2×2×stems_time"]
    np.testing.assert_allclose(
        played(made, given)["stems"], outputs(model, given)["stems"], atol=1e-5
    )


class Remembers(nn.Module):
    """Adds a ramp whose length the tracer keeps as a constant."""

    def forward(self, mix: torch.Tensor) -> torch.Tensor:
        """Add the ramp."""
        return mix + torch.linspace(0, 1, int(mix.shape[-1]))


class OneLength(nn.Module):
    """Takes inputs of one length only, already in PyTorch."""

    def forward(self, mix: torch.Tensor) -> torch.Tensor:
        """Refuse any other length."""
        if mix.shape[-1] != SAMPLES:
            raise ValueError("not my length")
        return mix * 2


def test_a_dynamic_graph_of_one_length_is_refused(tmp_path: Path) -> None:
    """A dynamic graph that works at one length only is refused, and the message says what works."""
    with pytest.raises(StageError, match="works at one length only") as caught:
        exported(_opened(Remembers(), "out"), tmp_path / "export", dynamic=True)
    assert "chunker=overlap_add" in str(caught.value)
    assert exported(_opened(Remembers(), "out"), tmp_path / "fixed").format == "onnx"


def test_a_module_of_one_length_is_a_warning(tmp_path: Path) -> None:
    """A module of one length gets a warning, because no second length can be compared."""
    core = _opened(OneLength(), "out")
    made = Onnx(Onnx.Options(dynamic=True)).run(core, feeds(core), work_in(tmp_path / "export"))
    assert [n.severity for n in made.notices] == ["warning"]
    assert "at one length only" in made.notices[0].text


def test_halves_of_a_waveform_and_its_spectrogram_fit_each_other() -> None:
    """A halved waveform and its halved spectrogram fit: the frames stay `ceil(T / hop)`."""
    model, hop = hybrid(), 4
    for samples in range(1, 40):
        shapes = {"mix": (1, 2, samples), "mag": (1, 4, 6, -(-samples // hop))}
        given = {name: np.zeros(shape, np.float32) for name, shape in shapes.items()}
        half = halved(model, given)
        assert half["mix"].shape == (1, 2, -(-samples // 2))
        assert half["mag"].shape == (1, 4, 6, -(-half["mix"].shape[-1] // hop))


def test_only_a_dynamic_export_says_so() -> None:
    """Only a dynamic export says that it takes any length; otherwise the plan asks for windows."""
    assert Onnx(Onnx.Options(dynamic=True)).dynamic
    assert not Onnx(Onnx.Options()).dynamic


def test_weights_can_lie_beside_the_graph(tmp_path: Path) -> None:
    """With `external_data=always` the weights lie in one file, which the graph finds."""
    model = separator()
    made = exported(model, tmp_path / "export", external_data=ExternalData.always)
    assert {p.name for p in Path(made.folder).iterdir()} == {"model.onnx", "model.onnx.data"}
    assert played(made, feeds(model))["stems"].shape == (1, 2, 2, 512)


def test_nothing_is_left_of_the_work(tmp_path: Path) -> None:
    """The export's folder holds the graph alone, because its hash covers every file."""
    made = exported(separator(), tmp_path / "export")
    assert [p.name for p in Path(made.folder).iterdir()] == ["model.onnx"]


def test_equal_models_give_equal_files(tmp_path: Path) -> None:
    """Equal models give equal files, because later steps are stored under the file's hash."""
    first, second = (exported(separator(), tmp_path / name) for name in "ab")
    assert first.sha256 == second.sha256


class Branching(nn.Module):
    """Has an output that depends on a branch on a value."""

    def forward(self, mix: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return twice the input, and the input or twice the input."""
        return mix * 2, mix if mix.sum() > 0 else mix * 2


class Broken(nn.Module):
    """Fails in every call."""

    def forward(self, mix: torch.Tensor) -> torch.Tensor:
        """Fail."""
        raise RuntimeError(f"no kernel for {mix.ndim} axes\nsecond line")


def _opened(core: nn.Module, *names: str) -> TorchModel:
    spec = TensorSpec("mix", ("channel", "time"), (2, "time"))
    info = ModelInfo(Signature((spec,), ()), ("mix",), names)
    return TorchModel(info, core, separator().reference)


def test_a_branch_that_was_recorded_is_found(tmp_path: Path) -> None:
    """A graph that agrees on the example and not on other values is refused.

    The message names the output and the line of the branch.
    """
    model = _opened(Branching(), "same", "either")
    with pytest.raises(StageError, match="for values other than") as caught:
        exported(model, tmp_path / "export")
    assert "output `either` has " in caught.value.what
    told = str(caught.value)
    assert "test_onnx.py:" in told
    assert "mix if mix.sum() > 0 else mix * 2" in told
    assert exported(model, tmp_path / "unproven", verify=False).format == "onnx"


def test_a_module_that_fails_ends_in_one_message(tmp_path: Path) -> None:
    """The error has the first line of the cause and the line in the module, not the full trace."""
    with pytest.raises(StageError, match="cannot export the model: its own code fails") as caught:
        exported(_opened(Broken(), "out"), tmp_path / "export")
    assert caught.value.lines[0] == "RuntimeError: no kernel for 3 axes"
    assert "test_onnx.py:" in caught.value.lines[1]


def test_a_dsp_of_another_model_is_refused(tmp_path: Path) -> None:
    """A dsp that lacks one of the core's inputs is refused by the name of the input."""
    with pytest.raises(StageError, match="the dsp gives no `mag`"):
        Onnx(Onnx.Options()).run(hybrid(), feeds(separator()), work_in(tmp_path / "export"))


def test_an_opset_that_cannot_be_written_is_refused() -> None:
    """Opset 21 is refused, because the TorchScript-based exporter ends at 20."""
    with pytest.raises(ValueError, match="`opset` cannot be 21; this exporter writes 13 to 20"):
        Onnx.Options(opset=21)


def test_the_terminal_stays_clean(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Neither warnings nor prints of the libraries reach the terminal."""
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        exported(hybrid(), tmp_path / "export")
    assert [str(w.message) for w in seen] == []
    assert capfd.readouterr() == ("", "")
