"""Which of NVIDIA's libraries is taken, which packages clash, and why a machine runs no engine."""

from __future__ import annotations

import importlib.util
from dataclasses import replace
from importlib import metadata
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from core import ArtifactSpec, StageError
from core.errors import MisfitError, MissingLibraryError
from plugins.runtime._tensorrt import driver
from plugins.runtime._tensorrt.capabilities import RTX, enum_name, too_old
from plugins.runtime._tensorrt.driver import Gpu, Machine
from plugins.runtime._tensorrt.library import FLAVOURS, Flavour, choose, clash
from plugins.runtime._tensorrt.opening import why_not
from plugins.runtime.tensorrt import TensorRt, TensorRtOptions

RTX_LIBRARY, CLASSIC = FLAVOURS[Flavour.rtx], FLAVOURS[Flavour.tensorrt]
Install = Any


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch) -> Install:
    """Return a function that pretends that exactly these packages are installed."""

    def pretend(**versions: str) -> None:
        modules = {name.rpartition("_cu")[0] for name in versions}

        def found(name: str) -> object:
            return SimpleNamespace() if name in modules else None

        def version(name: str) -> str:
            if name not in versions:
                raise metadata.PackageNotFoundError(name)
            return versions[name]

        monkeypatch.setattr(importlib.util, "find_spec", found)
        monkeypatch.setattr(metadata, "version", version)

    return pretend


RTX_12 = {"tensorrt_rtx_cu12_bindings": "1.7.1", "tensorrt_rtx_cu12_libs": "1.7.1"}
CLASSIC_13 = {"tensorrt_cu13_bindings": "11.4.0", "tensorrt_cu13_libs": "11.4.0"}


def test_auto_takes_the_library_that_is_installed(install: Install) -> None:
    """Each of the two, with its version and the CUDA that it was built for."""
    for packages, expected, version, cuda in (
        (RTX_12, RTX_LIBRARY, "1.7.1", 12),
        (CLASSIC_13, CLASSIC, "11.4.0", 13),
    ):
        install(**packages)
        library, problem = choose(Flavour.auto)
        assert (library, problem) == (expected, "")
        assert (expected.version, expected.cuda, clash(expected)) == (version, cuda, "")


def test_auto_asks_which_where_both_are_installed(install: Install) -> None:
    """Their engines differ, so one has to be named; naming it is enough."""
    install(**RTX_12, **CLASSIC_13)
    library, problem = choose(Flavour.auto)
    assert library is None
    assert "runtime.flavour=rtx or runtime.flavour=tensorrt" in problem
    assert choose(Flavour.tensorrt) == (CLASSIC, "")


def test_a_missing_library_is_named_with_its_command(install: Install) -> None:
    """The plan says how to install it, and what else is there."""
    install()
    assert "pip install tensorrt-rtx-cu12" in TensorRt.unavailable()
    install(**RTX_12)
    assert TensorRt.unavailable() == ""
    runtime = TensorRt(TensorRtOptions(Flavour.tensorrt, ["9.0"]))
    with pytest.raises(MissingLibraryError, match="cannot build an engine") as caught:
        runtime.plan(ArtifactSpec("onnx", "fp16"))
    assert "pip install tensorrt-cu12" in str(caught.value)
    assert "installed is `tensorrt_rtx`" in str(caught.value)


@pytest.mark.parametrize(
    ("packages", "says"),
    [
        ({**RTX_12, "tensorrt_rtx_cu13_bindings": "1.7.1"}, "both installed and write the same"),
        ({**RTX_12, "tensorrt_rtx_cu12_libs": "1.6.0"}, "`tensorrt_rtx_cu12_libs` is 1.6.0"),
        ({"tensorrt_rtx_cu12_bindings": "1.7.1"}, "installed without `tensorrt_rtx_cu12_libs`"),
    ],
)
def test_packages_that_clash_are_named(
    install: Install, packages: dict[str, str], says: str
) -> None:
    """The plan refuses them with the command that mends it, and doctor lists them."""
    install(**packages)
    assert says in clash(RTX_LIBRARY)
    with pytest.raises(MissingLibraryError, match=says):
        TensorRt(TensorRtOptions(Flavour.rtx, ["8.9"])).plan(ArtifactSpec("onnx", "fp16"))
    assert [n.severity for n in TensorRt.findings() if says in n.text] == ["danger"]


@pytest.mark.parametrize(
    ("options", "precision", "says"),
    [
        ({"compute_capabilities": ["9.0"]}, "fp16", "nothing for compute capability 9.0"),
        ({"compute_capabilities": ["7.5", "8.9"]}, "bf16", "capability 7.5 have no bf16"),
        ({"compute_capabilities": ["8.6"]}, "fp8", "capability 8.6 have no fp8"),
        ({"hardware_compatible": True}, "fp16", "no `hardware_compatible` engines"),
        ({"version_compatible": True}, "fp16", "no `version_compatible` engines"),
    ],
)
def test_the_plan_refuses_what_rtx_does_not_have(
    install: Install, options: dict[str, Any], precision: str, says: str
) -> None:
    """Before anything is made, also where no library is installed."""
    for packages in ({}, RTX_12):
        install(**packages)
        chosen = {"flavour": Flavour.auto, "compute_capabilities": ["8.9"], **options}
        with pytest.raises(MisfitError, match=says):
            TensorRt(TensorRtOptions(**chosen)).plan(ArtifactSpec("onnx", precision))


def test_tensorrt_builds_for_one_sort_of_gpu(install: Install) -> None:
    """Several need `hardware_compatible`, which TensorRT has."""
    install(**CLASSIC_13)
    two = ["8.9", "9.0"]
    with pytest.raises(MisfitError, match="one sort of GPU"):
        TensorRt(TensorRtOptions(Flavour.auto, two)).plan(ArtifactSpec("onnx", "fp16"))
    every = TensorRtOptions(Flavour.auto, two, hardware_compatible=True)
    assert TensorRt(every).plan(ArtifactSpec("onnx", "fp16")).format == "tensorrt_engine"


def test_the_key_of_an_engine_names_the_library(install: Install) -> None:
    """Another version, or the other library, is another result."""
    runtime = TensorRt(TensorRtOptions(Flavour.auto, ["8.9"]))
    install(**RTX_12)
    first = dict(runtime.machine())
    install(**dict.fromkeys(RTX_12, "1.8.0"))
    assert first == {"library": "TensorRT-RTX", "version": "1.7.1"}
    assert runtime.machine()["version"] == "1.8.0"


@pytest.mark.parametrize("wrong", ["89", "8.9.0", "sm_89", "", "-8.9"])
def test_a_capability_has_two_parts(wrong: str) -> None:
    """Other texts are a ValueError of the options; so is an empty list."""
    with pytest.raises(ValueError, match="`compute_capabilities` holds"):
        TensorRtOptions(Flavour.rtx, [wrong])
    with pytest.raises(ValueError, match="`compute_capabilities` is empty"):
        TensorRtOptions(Flavour.rtx, [])


@pytest.mark.parametrize(
    "wrong",
    [
        {"optimisation_level": 6},
        {"workspace_mb": -1},
        {"time_limit_s": 0.0},
        {"memory_limit_mb": 0},
    ],
)
def test_numbers_are_checked_before_anything_starts(wrong: dict[str, Any]) -> None:
    """A wrong option is a ValueError with its name."""
    with pytest.raises(ValueError, match=next(iter(wrong))):
        TensorRtOptions(Flavour.rtx, ["8.9"], **wrong)


def test_capabilities_have_the_librarys_names() -> None:
    """Parts are compared as numbers: 12.0 is newer than 8.9."""
    assert [enum_name(c) for c in RTX] == ["SM75", "SM80", "SM86", "SM89", "SM120", "SM121"]
    assert too_old("fp8", ["8.6", "8.9", "12.0"]) == ["8.6"]
    assert too_old("fp16", ["7.5"]) == []


GPU = Machine(12090, (Gpu("GeForce", "8.9"),))


def test_a_machine_without_a_gpu_runs_no_engine(install: Install) -> None:
    """What the driver says comes first."""
    install(**RTX_12)
    assert why_not(RTX_LIBRARY, Machine(problem="no driver"), ["8.9"]) == "no driver"


def test_an_old_driver_is_named_with_the_cuda_that_is_needed(install: Install) -> None:
    """The library's packages say which CUDA they are built for."""
    install(**CLASSIC_13)
    said = why_not(CLASSIC, GPU, ["8.9"])
    assert said.startswith("the NVIDIA driver is too old: it serves CUDA 12.9")
    assert "needs 13.0" in said


def test_another_gpu_is_named(install: Install) -> None:
    """With both capabilities, and the option that builds for it."""
    install(**RTX_12)
    said = why_not(RTX_LIBRARY, GPU, ["8.6", "12.0"])
    assert "8.6 or 12.0, and GeForce has 8.9" in said
    assert "runtime.compute_capabilities=[8.9]" in said


def test_pytorch_must_reach_the_gpu(install: Install, monkeypatch: pytest.MonkeyPatch) -> None:
    """The session's tensors are PyTorch's."""
    install(**RTX_12)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.version, "cuda", None)
    assert "is built without CUDA" in why_not(RTX_LIBRARY, GPU, ["8.9"])
    monkeypatch.setattr(torch.version, "cuda", "12.8")
    assert "finds no GPU" in why_not(RTX_LIBRARY, GPU, ["8.9"])
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert why_not(RTX_LIBRARY, GPU, ["8.9"]) == why_not(RTX_LIBRARY, GPU, []) == ""


def test_tensorrt_builds_only_on_a_gpu(install: Install, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without one, the error names the library that builds ahead of time."""
    install(**CLASSIC_13)
    monkeypatch.setattr(driver, "look", lambda: Machine(problem="no driver"))
    runtime = TensorRt(TensorRtOptions(Flavour.auto, ["9.0"]))
    with pytest.raises(StageError, match="on the GPU that it is for") as caught:
        runtime._checked_machine(CLASSIC)
    assert "no driver" in str(caught.value)
    assert "runtime.flavour=rtx" in str(caught.value)


def test_a_hardware_compatible_engine_is_not_tied_to_its_capability(
    install: Install, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its record says which GPUs run it, when it is opened."""
    install(**dict.fromkeys(("tensorrt_cu12_bindings", "tensorrt_cu12_libs"), "11.4.0"))
    monkeypatch.setattr(driver, "look", lambda: GPU)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    tied = TensorRtOptions(Flavour.auto, ["9.0"])
    assert "GeForce has 8.9" in TensorRt(tied).unopenable()
    assert TensorRt(replace(tied, hardware_compatible=True)).unopenable() == ""


def test_the_driver_of_this_machine_answers_or_is_missing() -> None:
    """Either there is a GPU with a name and a capability, or a reason why there is none."""
    here = driver.look()
    assert bool(here.gpus) != bool(here.problem)
    assert all(gpu.name and "." in gpu.capability for gpu in here.gpus)
    assert Machine(12090).driver == "12.9"
    assert Machine().driver == ""
