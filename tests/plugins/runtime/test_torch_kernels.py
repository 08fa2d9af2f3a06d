"""The runtime `torch` on torch programs: integer kernels, simulation and compiler."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from core import Artifact, Calibration, Session, StageError, TorchModel
from core.measure.metrics import snr_db
from plugins.quantizer._torchao import Backend
from plugins.runtime._torch_kernels import compiler
from plugins.runtime.torch import Kernels, TorchRuntime
from tests.optional import needs
from tests.plugins.networks import artifact, feeds, hybrid, normed, outputs, program, work_in

pytestmark = needs("torchao", "integers come from torchao")
AUTO, INT8, SIMULATED = Kernels.auto, Kernels.int8, Kernels.simulated
CAN_COMPILE = bool(compiler())


def _no_model() -> TorchModel:
    raise AssertionError("a torch program is played without the torch module")


def _opened(made: Artifact, folder: Path, **options: object) -> Session:
    runtime = TorchRuntime(TorchRuntime.Options(**options))
    return runtime.open(made, _no_model, work_in(folder))


def _static(model: TorchModel, folder: Path, **options: object) -> Artifact:
    """Quantise a model statically, for x86 by default."""
    from plugins.quantizer.torch_static import TorchStatic

    source = program(model, folder / "export")
    quantizer = TorchStatic(TorchStatic.Options(**{"backend": Backend.x86, **options}))
    calibration = Calibration(2, lambda: (feeds(model, seed=seed) for seed in range(2)))
    return artifact(quantizer.run(source, calibration, work_in(folder / "quantised")), model.info)


def _dynamic(model: TorchModel, folder: Path) -> Artifact:
    from plugins.quantizer.torch_dynamic import TorchDynamic

    source = program(model, folder / "export")
    quantizer = TorchDynamic(TorchDynamic.Options(backend=Backend.x86, reduce_range=True))
    made = quantizer.run(source, Calibration(0, lambda: ()), work_in(folder / "quantised"))
    return artifact(made, model.info)


x86 = pytest.mark.skipif(
    not torch.cpu.get_capabilities().get("avx2"), reason="PyTorch's integer kernels are x86's"
)


@x86
def test_kernels_compute_what_the_program_says(tmp_path: Path) -> None:
    """The integer kernels agree with the simulation by over 60 dB, with ReLUs inside."""
    model = normed()
    made = _static(model, tmp_path, reduce_range=True)
    given = feeds(model, seed=9)
    with _opened(made, tmp_path / "simulated", kernels=SIMULATED) as session:
        simulated = session.run(given)["stems"]
        assert session.facts["int8_kernels"] == {}
        assert session.facts["int8_simulated"] == 3
        assert "INT8 simulated in floats" in session.device
    with _opened(made, tmp_path / "int8", kernels=INT8) as session:
        actual = session.run(given)["stems"]
        assert session.facts["int8_kernels"] == {"conv1d": 1, "conv2d": 1, "linear": 1}
        assert session.facts["int8_simulated"] == 0
        assert session.facts["int8_kernels_with_relu"] == 2
        assert session.device.endswith(", INT8 kernels)")
    assert snr_db(simulated, actual) > 60
    assert 25 < snr_db(outputs(model, given)["stems"], actual) < 60


@x86
def test_kernels_take_ranges_that_come_with_the_data(tmp_path: Path) -> None:
    """A dynamic program runs on the same integer kernels."""
    model = hybrid()
    made = _dynamic(model, tmp_path)
    given = feeds(model, seed=9)
    with _opened(made, tmp_path / "simulated", kernels=SIMULATED) as session:
        simulated = session.run(given)["spec_out"]
    with _opened(made, tmp_path / "int8", kernels=INT8) as session:
        assert session.facts["int8_kernels"] == {"linear": 1}
        assert snr_db(simulated, session.run(given)["spec_out"]) > 60


@x86
def test_a_kernel_that_computes_something_else_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A kernel with wrong results is replaced by the simulation, and the facts count it.

    One kernel of AMX is wrong in this way.
    """
    model = normed()
    made = _static(model, tmp_path, reduce_range=True)
    given = feeds(model, seed=9)
    with _opened(made, tmp_path / "simulated", kernels=SIMULATED) as session:
        simulated = session.run(given)["stems"]
    actual = torch.ops.onednn.qconv_pointwise.default

    def off_by_one(*arguments: object) -> torch.Tensor:
        return actual(*arguments) + 1

    monkeypatch.setattr(torch.ops.onednn.qconv_pointwise, "default", off_by_one)
    with _opened(made, tmp_path / "wrong", kernels=INT8) as session:
        assert session.facts["int8_kernels"] == {"linear": 1}
        assert session.facts["int8_kernels_wrong_here"] == {"conv1d": 1, "conv2d": 1}
        assert session.facts["int8_simulated"] == 2
        assert session.device.endswith(", INT8 kernels, some simulated)")
        assert snr_db(simulated, session.run(given)["stems"]) > 60


class Odd(torch.nn.Module):
    """Convolves without a batch axis, and applies a layer to an empty tensor."""

    def __init__(self) -> None:
        super().__init__()
        self.wide, self.narrow = torch.nn.Conv1d(4, 4, 3), torch.nn.Conv1d(4, 4, 1)
        self.flat = torch.nn.Linear(14, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return one tensor, one part of which is empty."""
        first = self.narrow(torch.relu(self.wide(x[0])))
        return torch.cat([self.flat(first), self.flat(first[:0])])[None]


def _odd(size: float, folder: Path) -> tuple[Artifact, np.ndarray]:
    """Return a static program for activations of `size`, and one of its windows."""
    from core import ModelInfo, Signature, StageResult
    from core.formats.torch_export import save
    from plugins.quantizer.torch_static import TorchStatic

    torch.manual_seed(0)
    window = torch.randn(1, 4, 16) * size
    core = Odd().eval()
    core.wide.bias.data *= size  # type: ignore[union-attr]
    core.narrow.bias.data *= size  # type: ignore[union-attr]
    folder.mkdir()
    save(torch.export.export(core, (window,)), folder / "model.pt2")
    info = ModelInfo(Signature((), ()), ("x",), ("y",))
    given = artifact(StageResult(folder / "model.pt2", "torch_export", "fp32"), info)
    quantizer = TorchStatic(TorchStatic.Options(backend=Backend.x86, reduce_range=True))
    windows = Calibration(1, lambda: ({"x": window.numpy()},))
    made = quantizer.run(given, windows, work_in(folder / "work"))
    return artifact(made, info), window.numpy()


@x86
def test_what_no_kernel_takes_is_simulated(tmp_path: Path) -> None:
    """An operator that no kernel takes is simulated.

    Here it is a convolution without a batch axis, which oneDNN refuses at run time.
    """
    made, window = _odd(1.0, tmp_path / "made")
    with _opened(made, tmp_path / "work", kernels=INT8) as session:
        assert session.facts["int8_kernels"] == {"linear": 1}
        assert session.facts["int8_simulated"] == 2
        actual = session.run({"x": window})["y"]
        placement = session.placement({"x": window})
        assert placement is not None
        unasked, counted = placement.unasked, {one.precision: one.nodes for one in placement.placed}
        assert [(one.nodes, one.precision) for one in unasked] == [(2, "fp32")]
        assert [operator for _, operator in placement.left] == ["conv1d", "conv1d"]
        assert counted["int8"] == 1
    with _opened(made, tmp_path / "simulated", kernels=SIMULATED) as session:
        assert snr_db(session.run({"x": window})["y"], actual) > 60
        asked = session.placement({"x": window})
        assert asked is not None
        assert (asked.coverage, asked.left) == (1.0, ())


@x86
def test_a_wrong_kernel_is_told_at_any_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A kernel of zeros is found even for values of 1e-25, whose squares are zero in FP32."""
    made, _ = _odd(1e-25, tmp_path / "made")
    actual = torch.ops.onednn.qlinear_pointwise.default
    monkeypatch.setattr(
        torch.ops.onednn.qlinear_pointwise, "default", lambda *given: actual(*given) * 0
    )
    with _opened(made, tmp_path / "work", kernels=INT8) as session:
        assert session.facts["int8_kernels"] == {}
        assert session.facts["int8_kernels_wrong_here"] == {"linear": 1}


#: Kernels are tested before use: on a processor that saturates, no kernel is exact.
EXACT = any(torch.cpu.get_capabilities().get(name) for name in ("avx512_vnni", "avx_vnni"))
vnni = pytest.mark.skipif(not EXACT, reason="needs a processor with VNNI")


@x86
@pytest.mark.parametrize("able", [pytest.param(True, marks=vnni), False])
def test_kernels_that_saturate_are_left_alone(
    able: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without VNNI, kernels that saturate are not used; with VNNI they are exact.

    x86 without VNNI adds two products in 16 bits.
    """
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_vnni": able})
    made = _static(normed(), tmp_path)
    with _opened(made, tmp_path / "auto") as session:
        assert bool(session.facts["int8_kernels"]) is able
        reason = session.facts.get("int8_simulated_because", "VNNI")
        assert "VNNI" in str(reason)
    if not able:
        with pytest.raises(StageError, match="has no VNNI") as caught:
            _opened(made, tmp_path / "int8", kernels=INT8)
        assert "quantizer.reduce_range=true" in str(caught.value)


def test_a_program_for_another_back_end_is_simulated(tmp_path: Path) -> None:
    """A program for another back-end is simulated, or refused if `kernels=int8`."""
    made = _static(hybrid(), tmp_path, backend=Backend.arm)
    with _opened(made, tmp_path / "auto") as session:
        assert session.facts["int8_kernels"] == {}
        assert session.facts["int8_simulated"] == 3
    with pytest.raises(StageError, match="kernels cannot be used for this program"):
        _opened(made, tmp_path / "int8", kernels=INT8)


def test_a_window_of_another_length_ends_in_one_message(tmp_path: Path) -> None:
    """A window of another length is an error that says the program's shape."""
    model = hybrid()
    made = program(model, tmp_path / "export")
    given = {**feeds(model), "mix": np.zeros((1, 2, 100), np.float32)}
    with (
        _opened(made, tmp_path / "work") as session,
        pytest.raises(StageError, match="windows do not fit the program: `mix`") as caught,
    ):
        session.run(given)
    assert "it takes: 1×2×512 float32" in caught.value.lines


def test_kernels_and_the_compiler_exclude_each_other() -> None:
    """`kernels=int8` with `compile` is refused before any work."""
    with pytest.raises(ValueError, match="`kernels` cannot be int8 with `compile`"):
        TorchRuntime.Options(compile=True, kernels=INT8)


@pytest.mark.skipif(not CAN_COMPILE, reason="there is no C++ compiler")
def test_a_compiled_program_computes_the_same(tmp_path: Path) -> None:
    """A compiled program computes the same, and its label says `compiled` and `simulated`."""
    model = hybrid()
    made = _dynamic(model, tmp_path)
    given = feeds(model, seed=9)
    with _opened(made, tmp_path / "eager", kernels=SIMULATED) as session:
        expected = session.run(given)
    with _opened(made, tmp_path / "compiled", compile=True) as session:
        assert session.device.endswith(", INT8 simulated in floats, compiled)")
        actual = session.run(given)
        placement = session.placement(given)
    for name in expected:
        assert snr_db(expected[name], actual[name]) > 60
    assert placement is not None
    counts = {(one.precision, one.asked): one.nodes for one in placement.placed}
    assert counts["", True] >= 1, "kernels that the compiler generated"
    assert counts["fp32", True] >= 1, "kernels of PyTorch's own"
    assert counts["fp32", False] == 1, "the linear layer, which computes in floats"
    assert [operator for _, operator in placement.left] == ["linear"]


def test_a_missing_compiler_ends_in_one_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a C++ compiler, `compile` is one error.

    The message says what to install, and how to play without a compiler.
    """
    monkeypatch.setattr("plugins.runtime._torch_kernels.compiling.compiler", lambda: "")
    made = program(hybrid(), tmp_path / "export")
    with pytest.raises(StageError, match="this machine has none") as caught:
        _opened(made, tmp_path / "work", compile=True)
    assert "or play without: runtime.compile=false" in caught.value.lines


def test_doctor_says_whether_it_compiles(monkeypatch: pytest.MonkeyPatch) -> None:
    """The doctor says whether a C++ compiler is there."""
    _, found = TorchRuntime.findings()
    assert ("compiles with" in found.text) is CAN_COMPILE
    monkeypatch.setattr("plugins.runtime._torch_kernels.compiler", lambda: "")
    _, found = TorchRuntime.findings()
    assert found.text == "cannot compile: there is no C++ compiler"


def test_the_bundle_says_how_to_load_a_program(tmp_path: Path) -> None:
    """The Python lines for the bundle's README run unchanged on a quantised program."""
    import json

    model = hybrid()
    made = _dynamic(model, tmp_path)
    about = {"model": {"file": made.path, "format": "torch_export"}, "core": {}}
    (tmp_path / "metadata.json").write_text(json.dumps(about))
    lines = TorchRuntime(TorchRuntime.Options()).ships(model.info).lines["python"]
    lines = lines.replace('"metadata.json"', repr(str(tmp_path / "metadata.json")))
    given = feeds(model)
    names = {"inputs": [torch.from_numpy(given[name]) for name in model.info.core_inputs]}
    exec(lines, names)  # noqa: S102  # the exact lines of the README
    assert [tuple(t.shape) for t in names["outputs"]] == [(1, 4, 512), (1, 30, 8)]
