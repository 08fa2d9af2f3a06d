"""The runtime `torch_aot`: AOTInductor packages and TorchScript."""

from __future__ import annotations

import dataclasses
import json
import sys
import zipfile
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from torch._inductor.runtime.cache_dir_utils import cache_dir

from core import Artifact, ArtifactSpec, Session, StageError
from core.conformance import RuntimeSuite
from core.measure.metrics import snr_db
from plugins.runtime._torch_kernels import compiler
from plugins.runtime._torch_kernels.devices import Device
from plugins.runtime.torch_aot import Format, TorchAot, TorchAotOptions
from tests.plugins.networks import artifact, feeds, hybrid, outputs, program, work_in

needs_compiler = pytest.mark.skipif(not compiler(), reason="there is no C++ compiler")


@needs_compiler
class TestPackages(RuntimeSuite):
    """`torch_aot` keeps every runtime's contract with packages."""

    plugin = TorchAot


class TestTorchScript(RuntimeSuite):
    """And with TorchScript."""

    plugin = TorchAot
    options: ClassVar[Any] = TorchAotOptions(format=Format.torchscript)


def _runtime(**options: Any) -> TorchAot:
    return TorchAot(TorchAot.Options(**{"format": Format.torchscript, **options}))


def _made(folder: Path, **options: Any) -> Artifact:
    """Compile `hybrid`."""
    model = hybrid()
    source = program(model, folder / "export")
    made = _runtime(**options).compile(source, work_in(folder / "made"))
    return artifact(made, model.info)


def _opened(made: Artifact, folder: Path, **options: Any) -> Session:
    return _runtime(**options).open(made, hybrid, work_in(folder / "opened"))


def _folders_in(made: Artifact, own: Path) -> list[str]:
    """Return the folders of this machine that an archive names."""
    with zipfile.ZipFile(made.path) as archive:
        whole = b"".join(archive.read(name) for name in archive.namelist())
    folders = (sys.prefix, str(own), str(Path(torch.__file__).parent), cache_dir())
    return [folder for folder in folders if folder.encode() in whole]


def test_torchscript_computes_the_same_and_has_no_path_of_this_machine(tmp_path: Path) -> None:
    """The archive plays like the module, and names no folder."""
    made, given = _made(tmp_path), feeds(hybrid(), seed=3)
    with _opened(made, tmp_path) as session:
        actual = session.run(given)
        placement = session.placement(given)
        assert "TorchScript" in session.device
        with pytest.raises(StageError, match="windows do not fit the program: `mix`"):
            session.run({**given, "mix": given["mix"][..., :-1]})
    for name, array in outputs(hybrid(), given).items():
        assert snr_db(array, actual[name]) > 100
    assert placement is not None
    assert {one.precision for one in placement.placed} == {"fp32"}
    assert _folders_in(made, tmp_path) == []


@needs_compiler
def test_a_package_is_for_one_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A package plays here, and is refused where the processor or PyTorch is another one."""
    packed = {"format": Format.aoti_package}
    made, given = _made(tmp_path, **packed), feeds(hybrid(), seed=3)
    assert _folders_in(made, tmp_path) == []
    with _opened(made, tmp_path, **packed) as session:
        actual = session.run(given)
        placement = session.placement(given)
        assert "AOTInductor" in session.device
    for name, array in outputs(hybrid(), given).items():
        assert snr_db(array, actual[name]) > 100
    assert placement is not None
    counts = {one.precision: one.nodes for one in placement.placed}
    assert counts[""] >= 1
    assert counts["fp32"] >= 2
    monkeypatch.setattr(torch, "__version__", "1.0")
    with pytest.raises(StageError, match="another PyTorch"):
        _opened(made, tmp_path / "older", **packed)
    monkeypatch.undo()
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"cpu_name": "Other"})
    with pytest.raises(StageError, match="another machine") as told:
        _opened(made, tmp_path / "other", **packed)
    assert any("Other" in line for line in told.value.lines)


@pytest.mark.parametrize("ending", Format)
def test_a_changed_archive_is_not_loaded(
    ending: Format, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One other byte, or a file that nobody compiled here, is refused before it is loaded."""
    made = _made(tmp_path)

    def loaded(*_: object) -> None:
        raise AssertionError("it was loaded")

    for name in ("load_package", "load_script"):
        monkeypatch.setattr(f"plugins.runtime._torch_aot.archives.{name}", loaded)
    made = dataclasses.replace(made, format=ending.name)
    strange = dataclasses.replace(made, facts={})
    with pytest.raises(StageError, match="nothing says that `torch_aot` made it"):
        _opened(strange, tmp_path / "strange")
    data = bytearray(Path(made.path).read_bytes())
    data[len(data) // 2] ^= 1
    Path(made.path).write_bytes(data)
    with pytest.raises(StageError, match="not the one that was compiled"):
        _opened(made, tmp_path / "damaged")


def test_without_a_compiler_torchscript_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A package needs a C++ compiler: the plan warns, and the error names the other format."""
    monkeypatch.setattr("plugins.runtime._torch_kernels.compiling.compiler", lambda: "")
    monkeypatch.setattr("plugins.runtime._torch_kernels.compiler", lambda: "")
    runtime = _runtime(format=Format.aoti_package)
    (notice,) = runtime.advice(ArtifactSpec("torch_export", "fp32"))
    assert "C++ compiler" in notice.text
    with pytest.raises(StageError, match="this machine has none") as caught:
        runtime.compile(program(hybrid(), tmp_path / "export"), work_in(tmp_path / "made"))
    assert "runtime.format=torchscript" in str(caught.value)
    assert _runtime().advice(ArtifactSpec("torch_export", "fp32")) == []
    (found,) = TorchAot.findings()
    assert found.severity == "warning"


def test_a_missing_device_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is compiled for a device that is not here."""
    here = {Device.cpu: "Plain"}
    monkeypatch.setattr("plugins.runtime._torch_kernels.devices.present", lambda: here)
    with pytest.raises(StageError, match="finds no cuda"):
        _made(tmp_path, device=Device.cuda)


@pytest.mark.parametrize("ending", [pytest.param(Format.aoti_package, marks=needs_compiler),
                                    Format.torchscript])  # fmt: skip
@pytest.mark.filterwarnings("ignore:`torch.jit.load` is deprecated:DeprecationWarning")
def test_the_bundle_says_how_to_load_it(
    ending: Format, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The lines for the bundle's README run unchanged beside the archive."""
    model, made = hybrid(), _made(tmp_path, format=ending)
    lines = _runtime(format=ending).ships(model.info).lines["python"]
    given = feeds(model)
    names: dict[str, Any] = {
        "inputs": [torch.from_numpy(given[name]) for name in model.info.core_inputs]
    }
    monkeypatch.chdir(made.folder)
    exec(lines, names)  # noqa: S102  # the exact lines of the README
    assert [tuple(t.shape) for t in names["outputs"]] == [(1, 4, 512), (1, 30, 8)]
    json.dumps(made.facts)  # as the store keeps them
