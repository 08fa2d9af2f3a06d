"""The quantizer `torch_half`: bfloat16 and FP16 programs, FP32 at both ends."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from core import Artifact, ArtifactSpec, Calibration
from core.conformance import QuantizerSuite
from core.measure import snr_db
from core.torch_program import load
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

#: Between how many dB the result of each type lies: 8 and 11 bits of mantissa.
BITS = {Half.bf16: (38, 60), Half.fp16: (56, 80)}


class TestConformance(QuantizerSuite):
    """The quantizer keeps what every quantizer must."""

    plugin = TorchHalf
    min_snr_db = 35.0


def _converted(source: Artifact, folder: Path, dtype: Half) -> Artifact:
    quantizer = TorchHalf(TorchHalf.Options(dtype=dtype))
    made = quantizer.run(source, Calibration(0, lambda: ()), work_in(folder))
    assert quantizer.plan(source.spec) == ArtifactSpec("torch_export", dtype.name)
    return artifact(made, source.info)


@pytest.mark.parametrize("dtype", Half)
def test_result_is_that_of_16_bits(dtype: Half, tmp_path: Path) -> None:
    """Near PyTorch, but no nearer than the mantissa allows; by the same names, in FP32."""
    model = hybrid()
    made = _converted(program(model, tmp_path / "export"), tmp_path / "half", dtype)
    given = feeds(model, seed=9)
    actual, expected = played_by_torch(made, given), outputs(model, given)
    low, high = BITS[dtype]
    for name in expected:
        assert actual[name].dtype == np.float32
        assert low < snr_db(expected[name], actual[name]) < high
    assert made.facts["inputs"] == ["mix float32 1×2×512", "mag float32 1×4×6×5"]


@pytest.mark.parametrize("dtype", Half)
def test_weights_are_stored_in_16_bits(dtype: Half, tmp_path: Path) -> None:
    """Once, and not cast again for every window."""
    made = _converted(program(separator(), tmp_path / "export"), tmp_path / "half", dtype)
    held = load(Path(made.path)).state_dict
    kinds = {name.rpartition(".")[2]: tensor.dtype for name, tensor in held.items()}
    assert sum(kind is getattr(torch, dtype.value) for kind in kinds.values()) >= 5
    # What is left to convert comes from outside: the input, and the output.
    assert "_to_copy 2" in made.facts["operators"]


def test_it_says_which_operators_take_16_bits(tmp_path: Path) -> None:
    """From the written program, products and the rest apart."""
    made = _converted(program(separator(), tmp_path / "export"), tmp_path / "half", Half.bf16)
    assert [str(line).partition(" ")[0] for line in made.facts["macs_by_precision"]] == ["bf16"]
    assert made.number("float_nodes") == 3
