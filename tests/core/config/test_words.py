"""Words that are no `key=value`: each is answered with the whole command to type."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from core.cli.main import main
from core.config.command_line import check
from core.config.compose import CONF
from core.config.discovery import discover
from core.config.words import check_words
from core.errors import ConfigError
from core.machine.program import program
from tests.conftest import Command

START = "python -m core "


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the current folder, with two songs and a recipe in it."""
    for name in ("song.mp3", "a take (live).mp3", "a=b.mp3"):
        (tmp_path / name).touch()
    (tmp_path / "my.yaml").write_text("title: mine\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def offered(words: list[str], capsys: pytest.CaptureFixture[str]) -> list[str]:
    """Return the arguments of the command that a wrong one is answered with."""
    with pytest.raises(SystemExit) as ended:
        main(words)
    said = capsys.readouterr().err
    assert ended.value.code == 2, said
    assert said.count("error: ") == 1
    typed = [line for line in said.splitlines() if line.startswith("  type: ")]
    assert len(typed) == 1, said
    return shlex.split(typed[0].removeprefix("  type: " + START))


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    ("words", "meant"),
    [
        (["song.mp3"], ["recipe=cpu_fp32", "input=song.mp3"]),
        (["a take (live).mp3"], ["recipe=cpu_fp32", "input=a take (live).mp3"]),
        (["a=b.mp3"], ["recipe=cpu_fp32", "input=a=b.mp3"]),
        (["son.mp3"], ["recipe=cpu_fp32", "input=song.mp3"]),
        (["sub/*.flac"], ["recipe=cpu_fp32", "input=sub/*.flac"]),
        (["song.mp3", "a take (live).mp3"], ["recipe=cpu_fp32", "input=*.mp3"]),
        (["cpu_fp32"], ["recipe=cpu_fp32"]),
        (["cpu_fp23"], ["recipe=cpu_fp32"]),
        (["my.yaml"], ["recipe=my.yaml"]),
        (["s24"], ["recipe=auto", "target=s24"]),
        (["htdemucs"], ["recipe=cpu_fp32", "model=htdemucs"]),
        (["html"], ["recipe=cpu_fp32", "reporter=html"]),
        (["plan"], ["recipe=cpu_fp32", "mode=plan"]),
        (["doctor"], ["mode=doctor"]),
        (["--list"], ["mode=list"]),
        (["--verson"], ["--version"]),
        (["-v"], ["--version"]),
        (["version"], ["--version"]),
        (["help"], ["--help"]),
        (["--recipe", "cpu_fp32"], ["recipe=cpu_fp32"]),
        (["--recipe=cpu_fp32"], ["recipe=cpu_fp32"]),
        (["recipe", "cpu_fp32"], ["recipe=cpu_fp32"]),
        (["recipe:", "cpu_fp32"], ["recipe=cpu_fp32"]),
        (["recipe:cpu_fp32"], ["recipe=cpu_fp32"]),
        (["recipe=", "cpu_fp32"], ["recipe=cpu_fp32"]),
        (["recipe", "=", "cpu_fp32"], ["recipe=cpu_fp32"]),
        (["recipe", "=cpu_fp32"], ["recipe=cpu_fp32"]),
        (["-i", "song.mp3", "-o", "out"], ["recipe=cpu_fp32", "input=song.mp3", "output=out"]),
        (["cpu_fp32", "song.mp3", "plan"], ["recipe=cpu_fp32", "input=song.mp3", "mode=plan"]),
        (["--cfg", "job", "song.mp3"], ["--cfg", "job", "recipe=cpu_fp32", "input=song.mp3"]),
        (["chunker.length", "3"], ["recipe=cpu_fp32", "chunker.length=3"]),
    ],
)  # fmt: skip
def test_a_word_alone_is_answered_with_the_command(
    words: list[str], meant: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """One message, exit code 2, and the exact command, quoted for the shell."""
    assert offered(words, capsys) == meant


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    "words",
    [
        ["song.mp3"], ["cpu_fp32"], ["my.yaml", "htdemucs"], ["--recipe", "cpu_fp32", "plan"],
        ["-i", "a take (live).mp3"], ["html"], ["--dry-run", "recipe=cpu_fp32"], ["a=b.mp3"],
    ],
)  # fmt: skip
def test_what_is_offered_is_taken(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """A command that was offered is not refused for its words again."""
    meant = offered(words, capsys)
    check(meant)
    check_words(meant, discover(), CONF)


def test_a_command_of_luthier_alone_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    """`python -m core` has no command `separate`, and says who has."""
    with pytest.raises(SystemExit):
        main(["separate", "a song.mp3"])
    said = capsys.readouterr().err
    assert "type: python -m luthier separate 'a song.mp3'" in said


def test_no_word_at_all_is_answered_with_what_to_do(capsys: pytest.CaptureFixture[str]) -> None:
    """Without an argument, the message gives a command for each thing that one can want."""
    with pytest.raises(SystemExit) as ended:
        main([])
    said = capsys.readouterr().err
    assert ended.value.code == 2
    for words in ("recipe=cpu_fp32 input=", "mode=plan", "mode=list", "mode=doctor", "--help"):
        assert START + words in said or f" {words}" in said


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["synthetic"], "dataset=synthetic or calibration=synthetic"),
        (["oops"], "no recipe, target, precision, mode, plugin or file is named `oops`"),
        (["input"], "`input` has no value"),
        (["recipe=s24"], "`s24` is something else: target=s24"),
        (["recipe=song.mp3"], "if it is to be played, write: input=song.mp3"),
        (["--cfg", "jbo"], "did you mean `job`?"),
        (["--cfg"], "`--cfg` needs a value"),
        (["--run=3"], "`--run` takes no value"),
        (["--info=x"], "`--info` cannot be `x`"),
    ],
)
def test_a_word_that_stays_open_is_explained(
    command: Command, folder: Path, words: list[str], said: str
) -> None:
    """A word of several meanings, or of none, gives all that is known about it."""
    (folder / "song.mp3").write_bytes(b"\xff\xfb\x00")
    done = command(*words)
    assert done.code == 2, done.out
    assert said in done.err
    assert "usage:" not in done.err


def test_flags_with_values_are_left_as_they_are(command: Command, recipe: Path) -> None:
    """`--cfg job` is a flag with its value, and `job` no word alone."""
    done = command(f"recipe={recipe}", "--cfg", "job")
    assert done.code == 0, done.err
    assert "gain" in done.out


@pytest.mark.parametrize(
    ("package", "argument", "name"),
    [
        ("core.__main__", "/x/core/__main__.py", "python -m core"),
        ("luthier.__main__", "/x/luthier/__main__.py", "python -m luthier"),
        (None, "/usr/bin/luthier", "luthier"),
        (None, "C:/Scripts/luthier.exe", "luthier"),
        ("pytest.__main__", "/x/pytest/__main__.py", "python -m core"),
        (None, "/x/$(touch x)", "python -m core"),
    ],
)
def test_commands_begin_with_the_name_that_was_typed(
    monkeypatch: pytest.MonkeyPatch, package: str | None, argument: str, name: str
) -> None:
    """A message repeats how the program was started, and no name that it does not know."""
    import importlib.machinery
    import sys
    import types

    started = types.ModuleType("__main__")
    started.__spec__ = package and importlib.machinery.ModuleSpec(package, None)  # type: ignore[assignment]
    monkeypatch.setitem(sys.modules, "__main__", started)
    monkeypatch.setattr(sys, "argv", [argument])
    assert program() == name


def test_words_are_quoted_for_the_shell() -> None:
    """The command that is offered runs nothing else, whatever its words hold."""
    with pytest.raises(ConfigError) as refused:
        check(["--hepl", "recipe=$(touch x)"])
    assert "'recipe=$(touch x)'" in str(refused.value)
