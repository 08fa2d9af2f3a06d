"""The runtime `torch`."""

from __future__ import annotations

import dataclasses
import platform
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from core import Artifact, ModelInfo, Placed, Signature, StageError, StageResult, TorchModel
from core.conformance import RuntimeSuite
from core.formats.torch_export import save
from plugins.runtime.torch import TorchRuntime
from tests.plugins.networks import artifact, feeds, hybrid, outputs, torch_artifact, work_in


class TestConformance(RuntimeSuite):
    """`torch` keeps every runtime's contract."""

    plugin = TorchRuntime


def test_the_core_plays(tmp_path: Path) -> None:
    """The core plays by name in float32, with exactly the module's results."""
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
    """The number of threads is restored at the end, because it is the process's own."""
    model = hybrid()
    before = torch.get_num_threads()
    wanted = before + 1
    runtime = TorchRuntime(TorchRuntime.Options(threads=wanted))
    made = torch_artifact(model, tmp_path / "model")
    with runtime.open(made, lambda: model, work_in(tmp_path / "work")):
        assert torch.get_num_threads() == wanted
    assert torch.get_num_threads() == before


def test_a_missing_input_is_named(tmp_path: Path) -> None:
    """A missing input, as from another model's dsp, is an error that names the input."""
    model = hybrid()
    made = torch_artifact(model, tmp_path / "model")
    runtime = TorchRuntime(TorchRuntime.Options())
    with (
        runtime.open(made, lambda: model, work_in(tmp_path / "work")) as session,
        pytest.raises(StageError, match="needs the input `mag`"),
    ):
        session.run({"mix": feeds(model)["mix"]})


class Inside(nn.Module):
    """Changes its input in place, and returns it with two other outputs in another order."""

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return the input times 2, half of the input in 16 bits, and its signs."""
        x *= 2
        return {"signs": x > 0, "half": (x / 4).bfloat16(), "twice": x}


def test_outputs_go_by_their_names_and_share_nothing(tmp_path: Path) -> None:
    """Outputs of any type are matched by name, and the input arrays stay unchanged."""
    info = ModelInfo(Signature((), ()), ("x",), ("twice", "half", "signs"))
    model = TorchModel(info, Inside(), lambda _: {})
    given = {"x": np.array([[1.0, -2.0]], np.float32)}
    runtime = TorchRuntime(TorchRuntime.Options())
    made = torch_artifact(model, tmp_path / "model")
    with runtime.open(made, lambda: model, work_in(tmp_path / "work")) as session:
        for _ in range(2):
            actual: Any = session.run(given)
            np.testing.assert_array_equal(actual["twice"], [[2, -4]])
            np.testing.assert_array_equal(actual["half"], [[0.5, -1]])
            np.testing.assert_array_equal(actual["signs"], [[True, False]])
    assert [array.dtype.name for array in actual.values()] == ["float32", "float32", "bool"]


def _table(folder: Path) -> Artifact:
    """Return a program whose input is indices."""
    folder.mkdir()
    core = nn.Embedding(5, 3).eval()
    save(torch.export.export(core, (torch.zeros(1, 4, dtype=torch.int64),)), folder / "model.pt2")
    info = ModelInfo(Signature((), ()), ("ids",), ("rows",))
    return artifact(StageResult(folder / "model.pt2", "torch_export", "fp32"), info)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (np.zeros((1, 4), np.float32), "1×4 float32"),
        (np.zeros((1, 5), np.int64), "1×5 int64"),
    ],
)
def test_an_input_of_another_type_or_shape_is_refused(
    given: Any, said: str, tmp_path: Path
) -> None:
    """An input of another type or shape is refused with the expected and the given one.

    PyTorch's own message names neither.
    """
    runtime = TorchRuntime(TorchRuntime.Options())
    made = _table(tmp_path / "made")
    with runtime.open(made, hybrid, work_in(tmp_path / "work")) as session:
        assert session.run({"ids": np.full((1, 4), 2)})["rows"].shape == (1, 4, 3)
        with pytest.raises(StageError, match="the given windows do not fit the program") as caught:
            session.run({"ids": given})
    assert caught.value.lines[:2] == ("it takes: 1×4 int64", f"given: {said}")


def test_negative_threads_are_refused() -> None:
    """A negative number of threads is refused by the name of the option."""
    with pytest.raises(ValueError, match="`threads` cannot be -1"):
        TorchRuntime.Options(threads=-1)


def test_a_batch_norm_has_no_bytes(tmp_path: Path) -> None:
    """The empty tensor of bytes that a batch norm allocates is no operator of 8 bits."""
    model = hybrid()
    normed = TorchModel(
        dataclasses.replace(model.info, core_inputs=("x",), core_outputs=("y",)),
        nn.BatchNorm1d(2).eval(), model.reference,
    )  # fmt: skip
    made = torch_artifact(model, tmp_path / "model")
    runtime = TorchRuntime(TorchRuntime.Options())
    with runtime.open(made, lambda: normed, work_in(tmp_path / "work")) as session:
        placement = session.placement({"x": np.ones((1, 2, 3), np.float32)})
    assert placement is not None
    assert placement.placed == (Placed("CPU", 1, "fp32"),)


def test_a_trace_counts_operators_by_their_precision(tmp_path: Path) -> None:
    """A module with a layer in BF16 computes at two precisions; views are not counted."""

    class Mixed(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            turned = x.transpose(1, 2).reshape(x.shape)
            return (turned.relu().to(torch.bfloat16) * 2).float() + turned

    model = hybrid()
    mixed = TorchModel(
        dataclasses.replace(model.info, core_inputs=("x",), core_outputs=("y",)),
        Mixed().eval(), model.reference,
    )  # fmt: skip
    made = torch_artifact(model, tmp_path / "model")
    given = {"x": np.ones((1, 2, 3), np.float32)}
    runtime = TorchRuntime(TorchRuntime.Options())
    with runtime.open(made, lambda: mixed, work_in(tmp_path / "work")) as session:
        placement = session.placement(given)
    assert placement is not None
    assert set(placement.placed) == {Placed("CPU", 2, "fp32"), Placed("CPU", 1, "bf16")}
    assert placement.coverage == 1.0
