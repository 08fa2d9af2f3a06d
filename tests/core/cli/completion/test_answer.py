"""What a TAB is answered with, and the cache that makes it quick."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from core.cli.completion import cache
from core.cli.completion.answer import answer, candidates, words_of
from core.cli.completion.cache import vocabulary
from core.cli.completion.collect import collect
from core.cli.completion.script import SHELLS
from core.cli.completion.vocabulary import Choices, Vocabulary
from tests.conftest import Command

ROOT = Path(__file__).parents[4]


@pytest.fixture(scope="module")
def known() -> Vocabulary:
    """Return what can be completed with the plugins in the box."""
    return collect()


def offered(words: list[str], known: Vocabulary) -> list[str]:
    """Return the words that a TAB offers, without their titles."""
    return [word for word, _ in candidates(words, known)[1]]


@pytest.mark.parametrize(
    ("words", "there"),
    [
        ([""], ["recipe=", "input=", "mode=", "runtime="]),
        (["run"], ["runtime=", "runtime."]),
        (["mode="], ["mode=plan", "mode=doctor"]),
        (["target=s2"], ["target=s22", "target=s24"]),
        (["precision=w8"], ["precision=w8a16"]),
        (["model=htdemucs"], ["model=htdemucs", "model=htdemucs_small"]),
        (["calibration="], ["calibration=synthetic", "calibration=files"]),
        (["-m", "recipe=s24_int8,cpu_f"], ["recipe=s24_int8,cpu_fp32"]),
        (["reporter=[terminal,ht"], ["reporter=[terminal,html"]),
        (["runtime=openvino", "runtime.dev"], ["runtime.device="]),
        (["recipe=openvino_fp32", "runtime.dev"], ["runtime.device="]),
        (["recipe=cpu_fp32", "model.wei"], ["model.weights="]),
        (["recipe=s24_int8", "host.prov"], ["host.provider="]),
        (["recipe=s24_int8", "quantizer."], ["quantizer.weight="]),
        (["reporter.ht"], ["reporter.html."]),
        (["reporter.html.co"], ["reporter.html.codec="]),
        (["reporter.html.stereo=t"], ["reporter.html.stereo=true"]),
        (["measure.wo"], ["measure.worst_tensors="]),
        (["contract.max_cold"], ["contract.max_cold_start_ms="]),
        (["auto="], ["auto=true", "auto=false"]),
        (["--c"], ["--cfg", "--completion"]),
        (["--cfg", ""], ["job", "hydra", "all"]),
        (["--completion", "f"], ["fish"]),
    ],
)
def test_a_word_can_become(words: list[str], there: list[str], known: Vocabulary) -> None:
    """Keys, names, options of the chosen plugin and their values are offered."""
    found = offered(words, known)
    assert set(there) <= set(found)
    assert all(one.startswith(words[-1]) for one in found)


def test_the_options_of_a_plugin_are_those_of_the_chosen_one(known: Vocabulary) -> None:
    """Options of other plugins are not offered where the command or the recipe chooses one."""
    every = set(offered(["runtime."], known))
    qnn = set(offered(["recipe=s24_int8", "runtime."], known))
    typed = set(offered(["recipe=s24_int8", "runtime=torch", "runtime."], known))
    assert qnn < every
    assert typed < every
    assert qnn != typed


def test_files_are_offered_where_a_path_stands(
    known: Vocabulary, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`input=` takes any file; `recipe=` names, YAML files and folders."""
    for name in ("a.flac", "b.yaml", ".hidden", "two\nlines", "\x1b[31mred"):
        (tmp_path / name).touch()
    (tmp_path / "c").mkdir()
    monkeypatch.chdir(tmp_path)
    assert candidates(["input="], known) == (
        "files", [("input=a.flac", ""), ("input=b.yaml", ""), ("input=c/", "")]
    )  # fmt: skip
    assert offered([f"input={tmp_path}/a"], known) == [f"input={tmp_path}/a.flac"]
    (tmp_path / "a, b.flac").touch()
    assert offered(["input=a, "], known) == ["input=a, b.flac"]
    assert "input=x,a.flac" in offered(["-m", "input=x,"], known)
    found = offered(["recipe="], known)
    assert {"recipe=b.yaml", "recipe=c/", "recipe=cpu_fp32"} <= set(found)
    assert "recipe=a.flac" not in found


def test_a_name_that_means_something_to_a_shell_is_not_offered(known: Vocabulary) -> None:
    """A name with a shell's own characters is left out, wherever it comes from."""
    bad = {"$(touch x)": "", "a;b": "", "`x`": "", "a b": "", "x'y": "", "a\nb": "", "good": ""}
    hostile = msgspec.structs.replace(
        known,
        names={**known.names, "model": bad},
        keys={**known.keys, "scale": Choices(tuple(bad))},
        options={**known.options, "dsp": {"stft": dict.fromkeys(bad, Choices())}},
    )
    assert offered(["model="], hostile) == ["model=good"]
    assert offered(["scale="], hostile) == ["scale=good"]
    assert offered(["dsp=stft", "dsp."], hostile) == ["dsp.good="]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("luthier ", [""]),
        ("luthier recipe=a mo", ["recipe=a", "mo"]),
        ("python -m core recipe=a ", ["recipe=a", ""]),
        ("/x/bin/python3.11 -m luthier in", ["in"]),
        ("A=1 luthier input=my\\ so", ["input=my so"]),
        ("luthier 'input=my so", ["input=my so"]),
        ('luthier input="my so', ["input=my so"]),
        ("luthier input=my\\", ["input=my"]),
        ("ls x", [""]),
    ],
)
def test_a_line_of_bash_is_read_up_to_the_cursor(line: str, words: list[str]) -> None:
    """Quotes that are still open, and what stands before the program, are read as bash does."""
    assert words_of(line) == words


def test_bash_gets_what_follows_its_last_separator(
    known: Vocabulary, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Bash splits words at `=`; a bash that was told not to gets the whole word."""
    monkeypatch.setattr("core.cli.completion.answer.vocabulary", lambda: known)
    for breaks, first in ((" =:", "plan"), (" ", "mode=plan")):
        answer(["bash", breaks, "luthier mode=pl"], {})
        assert capsys.readouterr().out.split() == ["words", first]


def test_a_cache_is_used_until_something_changes(
    known: Vocabulary, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Plugins are found once; then again when a file of theirs changed."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    plugin = tmp_path / "plugin.py"
    plugin.write_text("one")
    found = []

    def collected() -> Vocabulary:
        found.append(plugin.read_text())
        return msgspec.structs.replace(known, watched=(str(plugin),))

    monkeypatch.setattr("core.cli.completion.collect.collect", collected)
    assert vocabulary() == vocabulary()
    assert found == ["one"]
    plugin.write_text("another")
    vocabulary()
    vocabulary()
    assert found == ["one", "another"]


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff\xfe", b'{"stamp": 1}'])
def test_a_damaged_cache_is_made_again(
    known: Vocabulary, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes
) -> None:
    """Bytes that are no cache cost a second and nothing else; nor is a link followed."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr("core.cli.completion.collect.collect", lambda: known)
    made = vocabulary()
    (file,) = tmp_path.rglob("*.json")
    file.write_bytes(content)
    assert vocabulary() == made
    assert cache._read(file) == made
    link = file.with_name("link.json")
    link.symlink_to(file)
    assert cache._read(link) is None


def test_a_cache_that_cannot_be_written_is_no_failure(
    known: Vocabulary, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the cache has no place, the answer is the same."""
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    monkeypatch.setattr("core.cli.completion.collect.collect", lambda: known)
    assert vocabulary().names == known.names


def test_a_tab_loads_neither_plugins_nor_torch(tmp_path: Path) -> None:
    """With a cache, no plugin, no Hydra and no library of theirs is imported."""
    code = (
        "import sys; sys.argv = ['core', '--complete', 'zsh', 'recipe=cpu_f']\n"
        "import runpy\n"
        "try: runpy.run_module('core', run_name='__main__')\n"
        "except SystemExit as ended: print(ended.code)\n"
        "print(sorted({m.partition('.')[0] for m in sys.modules}))\n"
    )
    told = [
        subprocess.run(
            [sys.executable, "-c", code], cwd=ROOT, text=True, capture_output=True, check=True,
            env={**os.environ, "XDG_CACHE_HOME": str(tmp_path)},
        ).stdout
        for _ in range(2)
    ]  # fmt: skip
    assert "recipe=cpu_fp32\t" in told[0]
    *answered, code_0, loaded = told[1].splitlines()
    assert answered == told[0].splitlines()[:-2]
    assert code_0 == "0"
    for heavy in ("'torch'", "'plugins'", "'hydra'", "'onnx'"):
        assert heavy not in loaded


def test_nothing_that_a_plugin_prints_is_part_of_the_answer(
    known: Vocabulary,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """Text that a library prints while it loads is dropped, also from C."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))

    def loud() -> Vocabulary:
        os.write(1, b"rm -rf\n")
        print("recipe=loud")
        return known

    monkeypatch.setattr("core.cli.completion.collect.collect", loud)
    vocabulary()
    assert capfd.readouterr().out == ""


@pytest.mark.parametrize("shell", SHELLS)
def test_one_command_prints_the_script(command: Command, shell: str) -> None:
    """`--completion SHELL` prints a script for `luthier` and `python`, without `eval`."""
    done = command("--completion", shell)
    assert done.code == 0
    assert "luthier" in done.out
    assert "python3" in done.out
    assert "eval " not in done.out
    assert command(f"--completion={shell}").out == done.out


@pytest.mark.parametrize("words", [["--completion"], ["--completion", "bsh"], ["--completion=x"]])
def test_an_unknown_shell_is_refused(command: Command, words: list[str]) -> None:
    """The error lists the shells, each with the command to type."""
    done = command(*words)
    assert done.code == 2
    for shell in SHELLS:
        assert f"python -m core --completion {shell}" in done.err
