"""Completion in real shells: each runs on a terminal, gets keys, and tells what it would start.

In place of `luthier` and `python`, the shells find a small program. It answers a TAB as the real
one does, and otherwise writes down its arguments as the shell has read them.
"""

from __future__ import annotations

import contextlib
import os
import pty
import select
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[4]
STARTS = {
    "bash": ["--norc", "--noprofile", "-i"],
    "zsh": ["-f", "-i"],
    "fish": ["--no-config", "-i"],
}
#: Names of files that do something where a shell evaluates them.
HOSTILE = ("$(touch RAN).flac", "`touch RAN`.flac", "a;touch RAN;.flac", "b 'c' \"d\".flac")

Typed = Callable[[str], list[str]]

PROGRAM = """\
#!/bin/sh
package=luthier
[ "$1" = -m ] && package="$2" && shift 2
if [ "$1" = --complete ]; then
    PYTHONPATH={root} exec {python} -m "$package" "$@"
fi
for argument in "$@"; do printf '%s\\0' "$argument"; done > {told}.part
mv {told}.part {told}
"""


@pytest.fixture(scope="module")
def music(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder that the shells are in."""
    folder = tmp_path_factory.mktemp("music")
    for name in ("my song.mp3", "mine.yaml", *HOSTILE):
        (folder / name).touch()
    for name in ("moll", "elsewhere/core"):
        (folder / name).mkdir(parents=True)
    (folder / "elsewhere" / "core" / "__main__.py").write_text("open('RAN', 'w')\n")
    return folder


@pytest.fixture(scope="module", params=STARTS)
def typed(
    request: pytest.FixtureRequest, music: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Typed]:
    """Return a function that types keys into a shell, and returns the arguments of the command."""
    shell = request.param
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    home = tmp_path_factory.mktemp(shell)
    told, programs = home / "told", home / "programs"
    programs.mkdir()
    for name in ("luthier", "python"):
        program = programs / name
        program.write_text(PROGRAM.format(root=ROOT, python=sys.executable, told=told))
        program.chmod(0o755)
    environment = {
        "PATH": f"{programs}:{os.environ['PATH']}", "HOME": str(home), "TERM": "dumb",
        "LANG": "C.UTF-8", "PS1": "% ",
    }  # fmt: skip
    script = ROOT / "core" / "cli" / "completion" / f"luthier.{shell}"

    with terminal(shell, environment, music) as send:
        send(f"source {script}\n")

        def run(keys: str) -> list[str]:
            told.unlink(missing_ok=True)
            send(f"{keys}\n", told)
            return told.read_text().split("\0")[:-1]

        yield run


@contextlib.contextmanager
def terminal(
    shell: str, environment: dict[str, str], folder: Path
) -> Iterator[Callable[..., None]]:
    """Run a shell on a terminal of its own; yields a function that types."""
    child, master = pty.fork()
    if child == 0:
        os.chdir(folder)
        os.execvpe(shell, [shell, *STARTS[shell]], environment)  # noqa: S606  # no shell in between
    heard = b""

    def listen(seconds: float) -> bool:
        nonlocal heard
        if not select.select([master], [], [], seconds)[0]:
            return False
        with contextlib.suppress(OSError):  # the shell has ended
            heard += os.read(master, 65536)
        return True

    def send(text: str, until: Path | None = None) -> None:
        os.write(master, text.encode())
        end = time.monotonic() + 60
        while until is not None and not until.exists():
            assert time.monotonic() < end, heard.decode(errors="replace")
            listen(0.2)
        while until is None and listen(1.0):
            pass

    listen(30)
    while listen(0.5):
        pass
    try:
        yield send
    finally:
        os.close(master)
        os.waitpid(child, 0)


@pytest.mark.parametrize(
    ("keys", "arguments"),
    [
        ("luthier recipe=cpu_f\t", ["recipe=cpu_fp32"]),
        ("luthier rec\topenvino_i\ttarget=ss\x7f24\tmode=pl\t",
         ["recipe=openvino_int8", "target=s24", "mode=plan"]),
        ("luthier runtime=openvino runtime.dev\tCPU", ["runtime=openvino", "runtime.device=CPU"]),
        ("python -m core mode=doc\t", ["mode=doctor"]),
        ("luthier input=my\t", ["input=my song.mp3"]),
        ("luthier recipe=mi\t", ["recipe=mine.yaml"]),
        ("luthier output=mo\tx", ["output=moll/x"]),
        ("luthier sep\t--form\tm\tmy\t", ["separate", "--format", "mp3", "my song.mp3"]),
        ("luthier separate my\t--out mo\tx --stems drums,ba\t",
         ["separate", "my song.mp3", "--out", "moll/x", "--stems", "drums,bass"]),
        ("python -m luthier separate -- a\tmod\t",
         ["separate", "--", "a;touch RAN;.flac", "mod"]),
        ("luthier separate --two-stems v\tmodel=htdemucs_s\tprecision=bf1\t",
         ["separate", "--two-stems", "vocals", "model=htdemucs_small", "precision=bf16"]),
    ],
)  # fmt: skip
def test_a_tab_completes_a_command(typed: Typed, keys: str, arguments: list[str]) -> None:
    """The shell starts the program with what the TAB put there, quoted where it must be."""
    assert typed(keys) == arguments


@pytest.mark.parametrize("begun", ["\\$", "\\`", "a", "b"])
def test_a_hostile_file_name_is_only_a_name(typed: Typed, music: Path, begun: str) -> None:
    """A name with commands in it is completed, quoted, and never run."""
    ((argument),) = typed(f"luthier input={begun}\t")
    assert argument.removeprefix("input=") in HOSTILE
    assert not (music / "RAN").exists()


def test_a_foreign_package_named_core_is_not_run(typed: Typed, music: Path) -> None:
    """In a folder with a package `core` of another project, a TAB starts nothing."""
    assert typed("cd elsewhere; luthier x") == ["x"]
    assert typed("python -m core mode=doc\t") == ["mode=doc"]
    assert typed("cd ..; luthier x") == ["x"]
    assert not list(music.rglob("RAN"))
