"""The quantizer `torch_static` gives PyTorch's own INT8, with ranges from calibration data."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from core import Artifact, ArtifactSpec, Calibration, InputError, StageError, Tensors, TorchModel
from core.conformance import QuantizerSuite
from core.measure.metrics import snr_db
from plugins.quantizer._torchao import Backend
from plugins.quantizer.torch_static import TorchStatic
from tests.optional import needs
from tests.plugins.networks import (
    artifact,
    feeds,
    hybrid,
    normed,
    outputs,
    played_by_torch,
    program,
    separator,
    work_in,
)

pytestmark = needs("torchao")


class TestConformance(QuantizerSuite):
    """`torch_static` keeps every quantizer's contract."""

    plugin = TorchStatic
    options = TorchStatic.Options(windows=4)


def _calibration(model: TorchModel, windows: int = 4) -> Calibration:
    return Calibration(windows, lambda: (feeds(model, seed=seed) for seed in range(windows)))


def _quantised(source: Artifact, model: TorchModel, folder: Path, **options: object) -> Artifact:
    quantizer = TorchStatic(
        TorchStatic.Options(**{"windows": 4, "backend": Backend.x86, **options})
    )
    return artifact(quantizer.run(source, _calibration(model), work_in(folder)), model.info)


@pytest.mark.parametrize("network", [separator, hybrid, normed])
def test_result_is_that_of_8_bits(network: type, tmp_path: Path) -> None:
    """The result has the SNR of 8 bits: between 30 and 60 dB."""
    model = network()
    made = _quantised(program(model, tmp_path / "export"), model, tmp_path / "int8")
    given = feeds(model, seed=9)
    actual, expected = played_by_torch(made, given), outputs(model, given)
    assert made.spec == ArtifactSpec("torch_export", "int8")
    for name in expected:
        assert 30 < snr_db(expected[name], actual[name]) < 60


def test_it_says_what_is_quantised_and_what_is_not(tmp_path: Path) -> None:
    """The facts count quantised and float nodes; a transposed convolution stays in float."""
    model = separator()
    made = _quantised(program(model, tmp_path / "export"), model, tmp_path / "int8")
    assert made.number("quantised_nodes") == 2
    assert made.number("float_nodes") == 1
    assert made.facts["nodes_by_precision"] == {"fp32": 4, "w8a8": 2}
    # Two convolutions with 2×8 and 16 inputs, for 16 and 32 outputs of 128 steps each. Then a
    # transposed one with 16 inputs of 128 steps, 4 outputs and 8 taps.
    assert made.facts["macs_by_precision"] == {
        "w8a8": 128 * 16 * 2 * 8 + 128 * 32 * 16,
        "fp32": 128 * 16 * 4 * 8,
    }
    assert made.facts["calibration_windows"] == 4


def test_only_the_operators_that_are_named_are_quantised(tmp_path: Path) -> None:
    """Only operators in `operators` are quantised, and a mostly float program has a warning."""
    model = hybrid()
    source = program(model, tmp_path / "export")
    quantizer = TorchStatic(TorchStatic.Options(windows=2, operators=["linear"]))
    made = quantizer.run(source, _calibration(model), work_in(tmp_path / "int8"))
    assert made.facts["quantised_nodes"] == 1
    (notice,) = made.notices
    assert notice.severity == "warning"
    assert "called int8, but mostly float: 95% of its multiply-accumulates" in notice.text


def test_excluded_modules_stay_in_float(tmp_path: Path) -> None:
    """Modules excluded by their path stay in float."""
    model = normed()
    source = program(model, tmp_path / "export")
    made = _quantised(source, model, tmp_path / "int8", exclude=["wide", "mi*"])
    assert made.number("quantised_nodes") == 1
    assert made.number("float_nodes") == 3


def test_a_pattern_that_fits_nothing_is_refused(tmp_path: Path) -> None:
    """A pattern in `exclude` that matches nothing is refused, with the nearest path."""
    model = normed()
    source = program(model, tmp_path / "export")
    with pytest.raises(StageError, match="`exclude` names `wdie`") as caught:
        _quantised(source, model, tmp_path / "int8", exclude=["wdie"])
    assert "did you mean `wide`?" in caught.value.lines
    with pytest.raises(StageError, match="nothing is left to quantise"):
        _quantised(source, model, tmp_path / "all", exclude=["*"])


def test_a_model_with_nothing_to_quantise_is_refused(tmp_path: Path) -> None:
    """A model without the requested operators is refused, and no file is written."""
    model = separator()
    source = program(model, tmp_path / "export")
    with pytest.raises(StageError, match="nothing to quantise: no linear with constant weights"):
        _quantised(source, model, tmp_path / "int8", operators=["linear"])
    assert list((tmp_path / "int8").iterdir()) == []


def test_calibration_data_with_a_nan_is_refused(tmp_path: Path) -> None:
    """A NaN in a window is refused with the window and tensor, and no file is written."""
    model = separator()
    source = program(model, tmp_path / "export")

    def broken() -> list[Tensors]:
        array = feeds(model)["mix"].copy()
        array[0, 1, 7] = np.nan
        return [feeds(model), {"mix": array}]

    quantizer = TorchStatic(TorchStatic.Options(windows=2))
    with pytest.raises(InputError, match=r"calibration window 2 holds .* in `mix`"):
        quantizer.run(source, Calibration(2, broken), work_in(tmp_path / "int8"))
    with pytest.raises(InputError, match="has no windows"):
        quantizer.run(source, Calibration(0, lambda: ()), work_in(tmp_path / "none"))
    assert list((tmp_path / "int8").iterdir()) == []


def test_windows_are_read_one_at_a_time(tmp_path: Path) -> None:
    """A window is made after the last one was used, so memory does not grow with their number."""
    model = separator()
    source = program(model, tmp_path / "export")
    made: list[int] = []
    used: list[int] = []

    def stream() -> object:
        for seed in range(3):
            assert len(made) == len(used)
            made.append(seed)
            yield feeds(model, seed=seed)
            used.append(seed)

    calibration = Calibration(3, stream)  # type: ignore[arg-type]
    TorchStatic(TorchStatic.Options(windows=3)).run(source, calibration, work_in(tmp_path / "q"))
    assert used == [0, 1, 2]


def test_the_types_are_those_of_the_back_end(tmp_path: Path) -> None:
    """x86 takes uint8 activations and a scale per channel, ARM int8 and one scale."""
    model = separator()
    source = program(model, tmp_path / "export")
    x86 = _quantised(source, model, tmp_path / "x86")
    arm = _quantised(source, model, tmp_path / "arm", backend=Backend.arm)
    assert x86.facts["operators"]["dequantize_per_channel"] == 2
    assert arm.facts["operators"]["dequantize_per_tensor"] == 4
    assert (x86.facts["backend"], arm.facts["backend"]) == ("x86", "arm")


@pytest.mark.parametrize("options", [{"windows": 0}, {"operators": []}, {"operators": ["gru"]}])
def test_options_that_cannot_be_are_refused(options: dict[str, object]) -> None:
    """An option without sense is refused by its name."""
    with pytest.raises(ValueError, match=f"`{next(iter(options))}`"):
        TorchStatic.Options(**options)
