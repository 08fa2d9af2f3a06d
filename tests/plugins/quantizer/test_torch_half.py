"""The quantizer `torch_half` gives bfloat16 and FP16 programs with FP32 inputs and outputs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from core import Artifact, ArtifactSpec, Calibration, StageError, StageResult, TorchModel
from core.conformance import QuantizerSuite
from core.formats.torch_export import load
from core.measure.metrics import snr_db
from plugins.quantizer.torch_half import Half, TorchHalf
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

NONE = Calibration(0, lambda: ())
#: Lower and upper SNR in dB of each type's result: 8 and 11 bits of mantissa.
BITS = {Half.bf16: (38, 60), Half.fp16: (56, 80)}


class TestConformance(QuantizerSuite):
    """`torch_half` keeps every quantizer's contract."""

    plugin = TorchHalf
    min_snr_db = 35.0


def _converted(source: Artifact, model: TorchModel, folder: Path, dtype: Half) -> Artifact:
    quantizer = TorchHalf(TorchHalf.Options(dtype=dtype))
    count = min(2, quantizer.calibration_windows)
    windows = Calibration(count, lambda: (feeds(model, seed) for seed in range(count)))
    made = quantizer.run(source, windows, work_in(folder))
    assert quantizer.plan(source.spec) == ArtifactSpec("torch_export", dtype.name)
    return artifact(made, source.info)


@pytest.mark.parametrize("dtype", Half)
def test_result_is_that_of_16_bits(dtype: Half, tmp_path: Path) -> None:
    """The result has the SNR of its mantissa, with the same names and in FP32."""
    model = hybrid()
    made = _converted(program(model, tmp_path / "export"), model, tmp_path / "half", dtype)
    given = feeds(model, seed=9)
    actual, expected = played_by_torch(made, given), outputs(model, given)
    low, high = BITS[dtype]
    for name in expected:
        assert actual[name].dtype == np.float32
        assert low < snr_db(expected[name], actual[name]) < high
    assert made.facts["inputs"] == ["mix float32 1×2×512", "mag float32 1×4×6×5"]


@pytest.mark.parametrize("dtype", Half)
def test_weights_are_stored_in_16_bits(dtype: Half, tmp_path: Path) -> None:
    """Weights are stored in 16 bits, so they are not cast for every window."""
    made = _converted(
        program(separator(), tmp_path / "export"), separator(), tmp_path / "half", dtype
    )
    held = load(Path(made.path)).state_dict
    kinds = {name.rpartition(".")[2]: tensor.dtype for name, tensor in held.items()}
    assert sum(kind is getattr(torch, dtype.value) for kind in kinds.values()) >= 5
    # Only the input and the output are still converted.
    assert made.facts["operators"]["_to_copy"] == 2


def test_it_says_which_operators_take_16_bits(tmp_path: Path) -> None:
    """The facts count the MACs by precision and the float nodes, from the written program."""
    made = _converted(
        program(separator(), tmp_path / "export"), separator(), tmp_path / "half", Half.bf16
    )
    assert [*made.facts["macs_by_precision"]] == ["bf16"]
    assert made.number("float_nodes") == 3


@pytest.mark.parametrize("dtype", Half)
def test_what_is_named_stays_in_float(dtype: Half, tmp_path: Path) -> None:
    """Operators and modules in `keep_float32` stay in FP32, and an unknown name is refused."""
    model = hybrid()
    source = program(model, tmp_path / "export")

    def run(name: str, *kept: str) -> StageResult:
        options = TorchHalf.Options(dtype=dtype, keep_float32=list(kept))
        return TorchHalf(options).run(source, NONE, work_in(tmp_path / name))

    made = run("made", "conv*", "query")
    assert [*made.facts["macs_by_precision"]] == [
        "fp32",
        dtype.name,
    ]
    assert any("of its multiply-accumulates stay in FP32" in one.text for one in made.notices)
    with pytest.raises(StageError, match="`keep_float32` names `qeury`") as caught:
        run("wrong", "qeury")
    assert "did you mean `query`?" in caught.value.lines


def test_only_fp16_looks_at_calibration_data(tmp_path: Path) -> None:
    """FP16 uses calibration data and bfloat16, with FP32's range, does not.

    Without data, FP16 leaves operators that sum and square in FP32.
    """
    assert TorchHalf(TorchHalf.Options(dtype=Half.bf16)).calibration_windows == 0
    quantizer = TorchHalf(TorchHalf.Options(dtype=Half.fp16))
    assert quantizer.calibration_windows > 0
    assert not quantizer.calibration_needed
    made = quantizer.run(program(separator(), tmp_path / "a"), NONE, work_in(tmp_path / "b"))
    assert [notice.text[:19] for notice in made.notices] == ["no calibration data"]
    assert made.facts["kept_float32"] == 1
    assert made.facts["operators"]["_to_copy"] == 4


@pytest.mark.parametrize("options", [{"windows": -1}, {"headroom": 0.5}])
def test_options_that_cannot_be_are_refused(options: dict[str, object]) -> None:
    """A number that is out of range is refused by the name of its option."""
    with pytest.raises(ValueError, match=f"`{next(iter(options))}`"):
        TorchHalf.Options(**options)
