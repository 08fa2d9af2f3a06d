"""The runtime `torch`: devices, 16-bit floats, compiled modules, kept windows."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest
import torch

from core import ArtifactSpec, Calibration, Session, StageError, Tensors
from core.inference.windows import run_group
from core.measure.metrics import snr_db
from core.plugin.progress import silent
from plugins.runtime._torch_kernels import compiler, devices
from plugins.runtime._torch_kernels.devices import Device, Half
from plugins.runtime._torch_kernels.repeats import Repeats
from plugins.runtime.torch import Kernels, TorchRuntime
from tests.optional import needs
from tests.plugins.networks import (
    artifact,
    feeds,
    hybrid,
    outputs,
    program,
    separator,
    torch_artifact,
    work_in,
)

#: What a processor is able to, as `torch.cpu.get_capabilities` says it.
PLAIN: Mapping[str, Any] = MappingProxyType({"avx2": True, "cpu_name": "Plain"})
MODERN: Mapping[str, Any] = MappingProxyType({**PLAIN, "avx512_bf16": True, "avx512_fp16": True})


def _opened(folder: Path, **options: Any) -> Session:
    """Open the module of `hybrid`."""
    model = hybrid()
    made = torch_artifact(model, folder / "model")
    return TorchRuntime(TorchRuntime.Options(**options)).open(
        made, lambda: model, work_in(folder / "work")
    )


def _advice(precision: str = "fp32", **options: Any) -> list[str]:
    runtime = TorchRuntime(TorchRuntime.Options(**options))
    return [one.text for one in runtime.advice(ArtifactSpec("torch_export", precision))]


@pytest.fixture
def _plain(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have a processor that has no kernels for 16 bits."""
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: PLAIN)
    monkeypatch.setattr(devices, "slow", lambda _: True)


@pytest.mark.parametrize(("half", "least"), [(Half.bf16, 40), (Half.fp16, 58)])
@pytest.mark.parametrize("kernels", [Kernels.auto, Kernels.simulated])
def test_autocast_rounds_and_is_near(
    half: Half, least: float, kernels: Kernels, tmp_path: Path
) -> None:
    """Results in 16 bits differ from FP32, and are as near as the bits of the type allow."""
    given, expected = feeds(hybrid(), seed=5), outputs(hybrid(), feeds(hybrid(), seed=5))
    with _opened(tmp_path, autocast=half, kernels=kernels) as session:
        actual = session.run(given)
        assert f"autocast {half.name}" in session.device
    for name, array in expected.items():
        assert least < snr_db(array, actual[name]) < 90, name
        assert actual[name].dtype == np.float32


@pytest.mark.usefixtures("_plain")
def test_products_without_kernels_compute_in_floats_and_are_told(tmp_path: Path) -> None:
    """Without kernels for 16 bits products compute in FP32: the label and the placement say it."""
    given = feeds(hybrid(), seed=5)
    with _opened(tmp_path, autocast=Half.bf16) as session:
        assert "bf16 rounded from floats" in session.device
        session.run(given)
        placement = session.placement(given)
    assert placement is not None
    # Two convolutions, a linear layer and two products of tokens.
    assert [(one.nodes, one.precision) for one in placement.unasked] == [(5, "fp32")]
    assert sorted({operator for _, operator in placement.left}) == ["bmm", "convolution", "mm"]
    with _opened(tmp_path / "asked", autocast=Half.bf16, kernels=Kernels.simulated) as session:
        asked = session.placement(given)
    assert asked is not None
    assert asked.unasked == ()


@needs("torchao", "the quantizer takes operators from torchao")
def test_a_program_in_16_bits_computes_the_same_in_floats(tmp_path: Path) -> None:
    """Rounded floats agree with PyTorch's own kernels as far as the bits of bf16 allow."""
    from plugins.quantizer.torch_half import TorchHalf

    model = separator()
    source = program(model, tmp_path / "export")
    half = TorchHalf(TorchHalf.Options()).run(
        source, Calibration(0, lambda: ()), work_in(tmp_path / "half")
    )
    made, given = artifact(half, model.info), feeds(model, seed=7)
    runtime = TorchRuntime(TorchRuntime.Options(kernels=Kernels.simulated))
    with runtime.open(made, separator, work_in(tmp_path / "simulated")) as session:
        simulated = session.run(given)["stems"]
        assert session.device.endswith("bf16 rounded from floats)")
    with torch.no_grad():
        (own,) = torch.export.load(made.path).module()(torch.from_numpy(given["mix"]))
    assert snr_db(own.numpy(), simulated) > 45
    assert 38 < snr_db(outputs(model, given)["stems"], simulated) < 70


@pytest.mark.usefixtures("_plain")
def test_the_plan_warns_of_16_bits_that_do_not_pay() -> None:
    """Autocast, and a program in 16 bits, are no faster on a processor without such products."""
    (said,) = _advice(autocast=Half.bf16)
    assert "does not multiply in bf16, so that bf16 is not faster than FP32" in said
    assert "products compute in FP32" in said
    (said,) = _advice("fp16")
    assert "fp16 is not faster" in said
    (said,) = _advice("bf16", compile=True)
    assert "runtime.compile=false" in said
    assert _advice() == []


def test_16_bits_that_pay_need_no_advice(monkeypatch: pytest.MonkeyPatch) -> None:
    """A processor that multiplies in 16 bits uses its kernels."""
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: MODERN)
    assert _advice(autocast=Half.bf16) == []
    assert _advice("fp16") == []
    assert not devices.slow(Half.bf16)


def test_a_missing_device_is_an_error_or_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A device that is not here ends the run and names what is here; a fallback must be asked."""
    monkeypatch.setattr(devices, "present", lambda: {Device.cpu: "Plain"})
    with pytest.raises(StageError, match="finds no cuda on this machine") as caught:
        _opened(tmp_path, device=Device.cuda)
    assert "cpu (Plain)" in caught.value.what
    assert "or take it without asking: runtime.allow_fallback=true" in caught.value.lines
    (said,) = _advice(device=Device.cuda)
    assert said.endswith("the run will end")
    (said,) = _advice(device=Device.cuda, allow_fallback=True)
    assert said.endswith("the CPU computes")
    given = feeds(hybrid())
    options = {"device": Device.cuda, "allow_fallback": True}
    with _opened(tmp_path / "other", **options) as session:
        assert session.device.startswith("CPU (")
        placement = session.placement(given)
    assert placement is not None
    assert placement.coverage == 0.0


def test_results_depend_on_the_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    """The facts of the machine, which are in the key, tell two processors apart."""
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: PLAIN)
    plain = TorchRuntime(TorchRuntime.Options()).machine()
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: MODERN)
    assert TorchRuntime(TorchRuntime.Options()).machine() != plain


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"cache_windows": -1}, "`cache_windows` cannot be -1"),
        ({"device": Device.cuda, "kernels": Kernels.int8}, "only with device=cpu"),
    ],
)
def test_options_are_checked(settings: dict[str, Any], says: str) -> None:
    """Negative numbers, and integer kernels on a GPU, are refused before any work."""
    with pytest.raises(ValueError, match=says):
        TorchRuntime.Options(**settings)


class Counted(Session):
    """Doubles a window, and counts how often."""

    device, calls = "a counter", 0

    def run(self, feeds: Tensors) -> Tensors:
        """Double."""
        self.calls += 1
        return {"y": feeds["x"] * 2}


def _window(value: float) -> Tensors:
    return {"x": np.full((1, 3), value, np.float32)}


def test_a_repeated_window_is_not_computed_and_reports_its_own_time() -> None:
    """A window that repeats comes from memory, unchanged, with the time of its computation."""
    inner = Counted()
    session = Repeats(inner, 2)
    seconds: list[float] = []
    given = [_window(1), _window(2), _window(1)]
    results = [*run_group(session, given, silent(), seconds)]
    assert inner.calls == 2
    assert session.facts["repeated_windows"] == 1
    assert seconds[2] == seconds[0]
    results[2]["y"][:] = 0
    assert session.run(_window(1))["y"].tolist() == [[2, 2, 2]]
    session.run(_window(3))  # the third: the window that was not used longest is forgotten
    session.run(_window(2))
    assert inner.calls == 4


def test_windows_of_other_types_are_other_windows() -> None:
    """Equal bytes of another type or shape are no repetition."""
    inner = Counted()
    session = Repeats(inner, 9)
    session.run({"x": np.zeros((2, 3), np.float32)})
    session.run({"x": np.zeros((3, 2), np.float32)})
    session.run({"x": np.zeros((2, 3), np.int32)})
    assert inner.calls == 3


def test_the_option_keeps_windows(tmp_path: Path) -> None:
    """`cache_windows` puts the memory in front of the session, and its facts into the report."""
    given = feeds(hybrid())
    with _opened(tmp_path, cache_windows=1) as session:
        first, again = session.run(given), session.run(given)
        assert session.facts["repeated_windows"] == 1
    np.testing.assert_array_equal(first["time_out"], again["time_out"])


@pytest.mark.skipif(not compiler(), reason="there is no C++ compiler")
def test_a_module_is_compiled_too(tmp_path: Path) -> None:
    """`compile` compiles a module when its first window comes."""
    given = feeds(hybrid(), seed=5)
    with _opened(tmp_path, compile=True) as session:
        assert session.device.endswith(", compiled)")
        actual = session.run(given)
    for name, array in outputs(hybrid(), given).items():
        assert snr_db(array, actual[name]) > 100
