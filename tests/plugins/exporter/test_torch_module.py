"""Every exporter handles modules that change, draw random numbers, or cannot be exported."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from core import Exporter, StageError, StageResult
from plugins.exporter._onnx.verify import turned
from plugins.exporter._torch_module.fresh import State, fresh
from plugins.exporter.onnx import Onnx
from plugins.exporter.onnx_dynamo import OnnxDynamo
from tests.plugins.exporter import modules
from tests.plugins.exporter.modules import EXPORTERS, FEEDS, opened
from tests.plugins.networks import artifact, played, played_by_torch, work_in

pytest.importorskip("onnxscript", reason="dynamo's exporter needs onnxscript")

every = pytest.mark.parametrize("exporter", EXPORTERS, ids=lambda cls: cls.name)


def export(exporter: type[Exporter], core: nn.Module, folder: Path, *outputs: str) -> StageResult:
    """Export a module, opened as a model."""
    given = {name: array.copy() for name, array in FEEDS.items()}
    made = exporter(exporter.Options()).run(opened(core, *outputs), given, work_in(folder / "work"))
    np.testing.assert_array_equal(given["x"], FEEDS["x"])
    return made


def refusal(exporter: type[Exporter], core: nn.Module, folder: Path) -> StageError:
    """Return the error of the export."""
    with pytest.raises(StageError, match=f"exporter `{exporter.name}` cannot export") as caught:
        export(exporter, core, folder)
    return caught.value


def test_an_operator_that_one_exporter_lacks_leads_to_the_other(tmp_path: Path) -> None:
    """Without complex numbers `onnx` names `onnx_dynamo`, which exports them.

    The reason stands without the piece of a graph that PyTorch puts behind it.
    """
    error = refusal(Onnx, modules.Spectral(), tmp_path / "onnx")
    assert error.lines[0] == "STFT does not currently support complex types"
    assert error.lines[1].startswith("try exporter=onnx_dynamo")
    export(OnnxDynamo, modules.Spectral(), tmp_path / "dynamo")


@every
@pytest.mark.parametrize(
    ("core", "name"),
    [
        (modules.Counting, "`calls`"),
        (modules.CountingInPython, "`inner.calls`"),
        (modules.Locked, "`calls`"),
        (modules.Streaming, "`last`"),
        (modules.Learning, "`layer.weight`"),
    ],
)
def test_a_module_that_changes_is_refused(
    exporter: type[Exporter], core: type[nn.Module], name: str, tmp_path: Path
) -> None:
    """A module that changes its own state is refused.

    The message names the state and the options that run the module in PyTorch.
    """
    error = refusal(exporter, core(), tmp_path)
    assert f"changes {name} each time it runs" in error.what
    assert "exporter=none graph=[] precision=fp32 runtime=torch" in str(error)


@every
def test_a_module_that_draws_random_numbers_is_refused(
    exporter: type[Exporter], tmp_path: Path
) -> None:
    """A module that draws random numbers is refused, with the operator's line in the code."""
    error = refusal(exporter, modules.Dropping(), tmp_path)
    assert "draws random numbers" in error.what
    assert "modules.py:" in str(error)
    assert "return functional.dropout(x, 0.3)" in str(error)


@every
def test_random_numbers_of_others_are_found(exporter: type[Exporter], tmp_path: Path) -> None:
    """Outputs that change without a change in the module are refused, with likely causes."""
    error = refusal(exporter, modules.Rolling(), tmp_path)
    assert "its outputs change between calls" in error.what
    assert any("Python's random numbers, a clock" in line for line in error.lines)


@every
def test_what_changes_and_moves_no_output_is_told(exporter: type[Exporter], tmp_path: Path) -> None:
    """State that changes without an effect on any output is a warning."""
    made = export(exporter, modules.Noting(), tmp_path)
    (notice,) = made.notices
    assert (notice.severity, "`calls`" in notice.text) == ("warning", True)


@every
def test_what_only_looks_like_it_is_exported(exporter: type[Exporter], tmp_path: Path) -> None:
    """Training mode, a cache, an input changed in place and infinities prevent no export."""

    def made() -> nn.Module:
        return nn.Sequential(
            modules.Training(), modules.Overwriting(), modules.Caching(), modules.Masking()
        )

    done = export(exporter, made(), tmp_path)
    assert done.notices == ()
    with torch.no_grad():
        expected = made().eval()(torch.from_numpy(FEEDS["x"].copy())).numpy()
    kept = artifact(done, opened(made()).info)
    play = played if kept.format == "onnx" else played_by_torch
    np.testing.assert_allclose(play(kept, FEEDS)["y"], expected, atol=1e-5)


@every
def test_outputs_by_name_keep_their_names(exporter: type[Exporter], tmp_path: Path) -> None:
    """Outputs in a dict keep their names, whatever the dict's order is."""
    made = export(exporter, modules.Named(), tmp_path, "y", "z")
    done = artifact(made, opened(modules.Named(), "y", "z").info)
    play = played if done.format == "onnx" else played_by_torch
    found = play(done, FEEDS)
    np.testing.assert_array_equal(found["y"], np.abs(FEEDS["x"]))
    np.testing.assert_array_equal(found["z"], FEEDS["x"] * 3)


@pytest.mark.parametrize("exporter", EXPORTERS[1:], ids=lambda cls: cls.name)
def test_a_branch_on_values_is_named_with_its_line(
    exporter: type[Exporter], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """A branch on values is refused with PyTorch's reason and the line in the code, and no more."""
    error = refusal(exporter, modules.Branching(), tmp_path)
    assert error.what.endswith("its code depends on the values of a tensor")
    assert error.lines[0] == "Could not guard on data-dependent expression Eq(u0, 1)"
    assert "modules.py:" in error.lines[1]
    assert error.lines[1].endswith("in forward: if x.sum() > 0:")
    assert "torch.where" in error.lines[2]
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("exporter", EXPORTERS[:2], ids=lambda cls: cls.name)
def test_an_operator_that_onnx_lacks_is_named_with_its_line(
    exporter: type[Exporter], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """An operator that ONNX lacks is named with its line and with an exporter that takes it."""
    error = refusal(exporter, modules.Inner(), tmp_path)
    assert "special_modified_bessel_i0" in error.what
    assert any(
        "modules.py:" in line and "return torch.special.modified_bessel_i0(x)" in line
        for line in error.lines
    )
    assert any("exporter=torch_export graph=[] runtime=torch" in line for line in error.lines)
    assert capfd.readouterr() == ("", "")
    assert export(EXPORTERS[2], modules.Inner(), tmp_path / "third").format == "torch_export"


@every
def test_a_module_that_fails_is_told_from_an_export_that_does(
    exporter: type[Exporter], tmp_path: Path
) -> None:
    """The error of a module that fails by itself has the module's own message and line."""
    error = refusal(exporter, modules.Failing(), tmp_path)
    assert error.what.endswith("its own code fails on example inputs")
    assert error.lines[0] == "RuntimeError: no kernel for 3 axes"
    assert "modules.py:" in error.lines[1]
    assert "second line" not in error.lines


@pytest.mark.parametrize("core", [modules.Counting, modules.Locked])
def test_calls_of_a_copy_leave_the_module_as_it_was(core: type[nn.Module]) -> None:
    """A call on a copy leaves the module unchanged; without a copy, buffers are restored."""
    model = opened(core())
    before = State.of(model.core)
    for _ in range(2):
        with fresh(model) as copied, torch.no_grad():
            copied.core(torch.zeros(1, 8, 64))
            assert float(copied.core.calls) == 1
            assert not copied.core.training
    assert before.changed(State.of(model.core)) == []


def test_other_values_are_values_that_a_model_takes() -> None:
    """Changed test values stay valid.

    Indices stay in the table, magnitudes stay positive, and signals change their sign.
    """
    given = {
        "tokens": np.array([[3, 0, 5]]),
        "length": np.array([3]),
        "magnitude": np.array([[0.5, 2.0]], np.float32),
        "signal": np.array([[1.0, -2.0]], np.float32),
    }
    found = {name: array.tolist() for name, array in turned(given).items()}
    assert found == {
        "tokens": [[5, 0, 3]],
        "length": [3],
        "magnitude": [[2.0, 0.5]],
        "signal": [[2.0, -1.0]],
    }
