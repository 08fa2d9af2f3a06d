"""`mode=doctor` reports Qualcomm's library as missing, incomplete, or for another CPU."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from plugins.runtime._htp import library
from plugins.runtime._htp.library import available, built_for

ROOT = Path(__file__).parents[3]


def elf(machine: int) -> bytes:
    """Return the header of a 64-bit ELF library for a machine."""
    return b"\x7fELF\x02\x01\x01".ljust(18, b"\0") + machine.to_bytes(2, "little") + bytes(44)


def pe(machine: int) -> bytes:
    """Return the header of a DLL for a machine."""
    dos = b"MZ".ljust(60, b"\0") + (64).to_bytes(4, "little")
    return dos + b"PE\0\0" + machine.to_bytes(2, "little")


def wheel(folder: Path, **libraries: bytes) -> None:
    """Write a package `onnxruntime_qnn` with these libraries, like an installed wheel."""
    package = folder / "onnxruntime_qnn"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    for name, content in libraries.items():
        (package / f"{name}.so").write_bytes(content)


def core(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run `python -m core ...` with `folder` first on the path."""
    code = "import sys; sys.path.insert(0, sys.argv.pop(1)); from core.cli.main import main; main()"
    return subprocess.run(
        [sys.executable, "-c", code, str(folder), *arguments],
        capture_output=True, text=True, cwd=ROOT, check=False, env={"COLUMNS": "1000"},
    )  # fmt: skip


def doctor(folder: Path) -> str:
    """Return the output of `mode=doctor` with `folder` first on the path."""
    done = core(folder, "mode=doctor")
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.skipif(sys.platform != "linux", reason="writes libraries as a Linux wheel has them")
def test_doctor_names_a_library_for_another_cpu(tmp_path: Path) -> None:
    """For a library of another CPU, the doctor names both CPUs and the command that repairs it."""
    here = built_for(Path(sys.executable).resolve())
    number, other = (62, "x86_64") if here == "aarch64" else (183, "aarch64")
    wheel(tmp_path, libQnnHtp=elf(number), libHtpPrepare=elf(number))
    page = doctor(tmp_path)
    (line,) = [line for line in page.splitlines() if "runtime `qnn`" in line]
    assert f"is for another CPU ({other}) than this machine's ({here})" in line
    assert "pip install --force-reinstall" in line
    done = core(tmp_path, "recipe=s24_fp16", f"store={tmp_path / 'store'}")
    assert done.returncode == 2
    assert "runtime `qnn` cannot compile on this machine" in done.stderr
    assert not (tmp_path / "store").exists(), "it is said before anything is made"


@pytest.mark.skipif(sys.platform != "linux", reason="writes libraries as a Linux wheel has them")
def test_doctor_names_a_wheel_without_a_compiler(tmp_path: Path) -> None:
    """For a wheel without the compiler, the doctor names the missing file.

    Wheels for phones and boards only run models that were compiled elsewhere.
    """
    wheel(tmp_path, libQnnHtp=elf(183))
    (line,) = [line for line in doctor(tmp_path).splitlines() if "runtime `qnn`" in line]
    assert "`libHtpPrepare.so` is not in" in line
    assert str(tmp_path / "onnxruntime_qnn") in line


def test_a_missing_package_is_named_with_its_command(monkeypatch: pytest.MonkeyPatch) -> None:
    """A missing `onnxruntime_qnn` is reported with the command that installs it."""
    find = library.importlib.util.find_spec
    monkeypatch.setattr(
        "importlib.util.find_spec", lambda name: None if name == "onnxruntime_qnn" else find(name)
    )
    assert available() == f"`onnxruntime_qnn` is not installed: {library.INSTALL}"


@pytest.mark.parametrize(
    ("head", "said"),
    [
        (elf(62), "x86_64"),
        (elf(183), "aarch64"),
        (elf(8), "ELF machine 8"),
        (pe(0x8664), "x86_64"),
        (pe(0xAA64), "aarch64"),
        (b"version https://git-lfs", "unknown: it is not a library"),
        (b"", "unknown: it is not a library"),
    ],
)
def test_the_header_tells_the_cpu(tmp_path: Path, head: bytes, said: str) -> None:
    """A library's header gives its CPU, on Linux and Windows; another file is no library."""
    file = tmp_path / "library"
    file.write_bytes(head)
    assert built_for(file) == said
