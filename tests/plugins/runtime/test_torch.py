"""The runtime `torch`."""

from __future__ import annotations

import platform
from pathlib import Path

import numpy as np
import pytest
import torch

from core import StageError
from core.conformance import RuntimeSuite
from plugins.runtime.torch import TorchRuntime
from tests.plugins.networks import feeds, hybrid, outputs, torch_artifact, work_in


class TestConformance(RuntimeSuite):
    """The runtime keeps what every runtime must."""

    plugin = TorchRuntime


def test_the_core_plays(tmp_path: Path) -> None:
    """By name, as float32, exactly as the module computes."""
    model = hybrid()
    made = torch_artifact(model, tmp_path / "model")
    given = feeds(model)
    runtime = TorchRuntime(TorchRuntime.Options())
    with runtime.open(made, lambda: model, work_in(tmp_path / "work")) as session:
        actual = session.run(given)
        version = torch.__version__.split("+")[0]
        assert session.device == f"CPU (PyTorch {version}, {platform.machine()})"
    expected = outputs(model, given)
    assert list(actual) == ["time_out", "spec_out"]
    for name in expected:
        np.testing.assert_array_equal(actual[name], expected[name])
        assert actual[name].dtype == np.float32


def test_the_number_of_threads_is_put_back(tmp_path: Path) -> None:
    """It belongs to the process, and other stages run in it."""
    model = hybrid()
    before = torch.get_num_threads()
    wanted = before + 1
    runtime = TorchRuntime(TorchRuntime.Options(threads=wanted))
    made = torch_artifact(model, tmp_path / "model")
    with runtime.open(made, lambda: model, work_in(tmp_path / "work")):
        assert torch.get_num_threads() == wanted
    assert torch.get_num_threads() == before


def test_a_missing_input_is_named(tmp_path: Path) -> None:
    """A dsp of another model gives other tensors."""
    model = hybrid()
    made = torch_artifact(model, tmp_path / "model")
    runtime = TorchRuntime(TorchRuntime.Options())
    with (
        runtime.open(made, lambda: model, work_in(tmp_path / "work")) as session,
        pytest.raises(StageError, match="needs the input `mag`"),
    ):
        session.run({"mix": feeds(model)["mix"]})


def test_negative_threads_are_refused() -> None:
    """The config error names the option."""
    with pytest.raises(ValueError, match="`threads` cannot be -1"):
        TorchRuntime.Options(threads=-1)
