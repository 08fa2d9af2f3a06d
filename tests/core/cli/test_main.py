"""What a person sees for what they mistype: one message, the nearest name, no traceback."""

from __future__ import annotations

from pathlib import Path

import pytest

from core import Notice
from tests import toy
from tests.conftest import Command


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["recipe=cpu_fp23"], ["no recipe is named `cpu_fp23`", "did you mean `cpu_fp32`"]),
        (["recipe=toy", "chunkr.length=3"], ["`chunkr", "did you mean `chunker`"]),
        (["recipe=toy", "chunker.lenght=3"], ["no option `chunker.lenght`", "`length`", "overlap"]),
        (["recipe=toy", "chunker.length=abc"], ["`chunker.length` cannot be `abc`", "Integer"]),
        (["recipe=toy", "mode=pln"], ["`mode` cannot be `pln`", "did you mean `plan`", "doctor"]),
        (["recipe=toy", "chunker=evn"], ["no chunker is named `evn`", "did you mean `even`"]),
        (["recipe=toy", "target=s25x"], ["no target is named `s25x`", "s24"]),
        (["recipe=toy", "+chunker.foo=1"], ["`even` has no option `foo`", "length, overlap"]),
        (["recipe=toy", "oops"], ["`oops` is not written key=value", "mode=list"]),
        (["recipe=toy", "~chunker"], ["chunker"]),
        (["recipe=toy", "+x=1"], ["there is no option `x`", "mode"]),
        (["recipe=toy", "graph=[copied,copied]"], ["names `copied` twice"]),
        (["recipe=toy", "graph=[copid]"], ["no graph is named `copid`", "did you mean `copied`"]),
        (["recipe=toy", "measure.budget_windows=0"], ["`budget_windows` cannot be 0"]),
        (["recipe=null"], ["`recipe` is empty"]),
        (["recipe=toy", "store=sftp://host/x"], ["cannot be at `sftp://host/x`", "s3://"]),
        (["mode=run"], ["no recipe is given", "s24_int8"]),
        (["recipe=toy", "input=/no/such/song.wav"], ["`/no/such/song.wav` does not exist"]),
    ],
)
def test_a_typo_gets_one_clear_message(
    command: Command, recipe: Path, arguments: list[str], said: list[str]
) -> None:
    """A typo ends in exit code 2, with the fault, the possible values, and no traceback."""
    done = command(*[a.replace("recipe=toy", f"recipe={recipe}") for a in arguments])
    assert done.code == 2, done.err
    for words in said:
        assert words in done.err
    assert "Traceback" not in done.err
    assert done.err.startswith("error: ")


def test_verbose_shows_the_trace(command: Command, recipe: Path) -> None:
    """`hydra.verbose=true` shows developers the traceback."""
    done = command(f"recipe={recipe}", "quantizer.fail=bug", "hydra.verbose=true")
    assert "Traceback" in done.err


def test_a_recipe_with_an_unknown_key_names_its_file(command: Command, tmp_path: Path) -> None:
    """A typo inside a recipe is found before anything is composed."""
    file = tmp_path / "mine.yaml"
    file.write_text("modle: gain\n")
    done = command(f"recipe={file}")
    assert done.code == 2
    assert "unknown key `modle`" in done.err
    assert "`model`?" in done.err
    assert str(file) in done.err


@pytest.mark.parametrize("text", ["model: [", "- a\n- b\n", "model: {plugin: gain, plugin: x\n"])
def test_a_recipe_that_is_no_recipe_is_refused(command: Command, tmp_path: Path, text: str) -> None:
    """Broken YAML ends in one message that names the file."""
    file = tmp_path / "broken.yaml"
    file.write_text(text)
    done = command(f"recipe={file}")
    assert done.code == 2
    assert "broken" in done.err
    assert "Traceback" not in done.err


def test_help_lists_every_recipe(command: Command) -> None:
    """The help page says what Luthier does, names the recipes, and gives examples."""
    page = command("--help").out
    for words in ("fits a PyTorch model", "s24_int8", "cpu_fp32", "examples", "mode=doctor"):
        assert words in page


@pytest.mark.parametrize("width", [60, 80, 200])
def test_help_fits_the_terminal(
    command: Command, monkeypatch: pytest.MonkeyPatch, width: int
) -> None:
    """No line is wider than the terminal, no command breaks, and its words are those of a pipe."""
    monkeypatch.delenv("COLUMNS", raising=False)
    whole = command("--help").out
    monkeypatch.setenv("COLUMNS", str(width))
    page = command("--help").out
    assert max(map(len, page.splitlines())) <= width
    assert page.split() == whole.split()
    for line in whole.splitlines():
        if line.startswith("  python -m core "):
            assert line.split("  ")[1] in page


def test_help_names_the_program_that_was_started(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who types `luthier` reads `luthier`."""
    monkeypatch.setattr("core.cli.help.program", lambda: "luthier")
    page = command("--help").out
    assert "usage: luthier recipe=NAME" in page
    assert "python -m core" not in page


def test_list_names_plugins_with_their_distribution(command: Command) -> None:
    """The list distinguishes plugins of other distributions from those in the box."""
    listing = command("mode=list").out
    assert "Cuts places into windows" in listing
    assert "(toy)" in listing
    assert "s24_int8" in listing


@pytest.mark.parametrize(
    ("found", "said"),
    [
        ([Notice("info", "2 abaci at [home]")], "ok  runtime `plain`: 2 abaci at [home]"),
        ([Notice("warning", "no abacus")], "--  runtime `plain`: no abacus"),
        (ZeroDivisionError("x"), "--  runtime `plain`: its check failed: ZeroDivisionError: x"),
    ],
)
def test_doctor_says_what_a_plugin_finds(
    command: Command, monkeypatch: pytest.MonkeyPatch, found: object, said: str
) -> None:
    """Doctor shows devices or accounts that plugins find; a failing plugin affects no other."""

    def findings(_: type) -> object:
        if isinstance(found, Exception):
            raise found
        return found

    monkeypatch.setattr(toy.Plain, "findings", classmethod(findings))
    monkeypatch.setattr(toy.Plain, "_guarded", {}, raising=False)  # made of the class as it was
    page = command("mode=doctor")
    assert page.code == 0
    assert said in page.out
    assert "plugins: " in page.out
    state = "ready" if "ok" in said else "to set up"
    assert f" {state}" in page.out.splitlines()[-1]


def test_doctor_names_the_machine_and_what_is_missing(command: Command) -> None:
    """Doctor lists libraries with versions, and counts the plugins that are ready."""
    page = command("mode=doctor").out
    assert "machine" in page
    assert "ok" in page
    assert "plugins: " in page


def test_version_is_luthiers(command: Command) -> None:
    """`--version` prints Luthier's version, not Hydra's."""
    assert command("--version").out.startswith("luthier ")


def test_a_place_that_cannot_be_written_is_found_before_anything_runs(
    command: Command, recipe: Path, tmp_path: Path
) -> None:
    """An output folder that cannot be written is refused at once, not after an hour of work."""
    (tmp_path / "file").touch()
    done = command(f"recipe={recipe}", f"output={tmp_path / 'file'}")
    assert done.code == 1
    assert "the run folder cannot be written" in done.err
    assert toy.RAN == []
