"""What a command line may hold before Hydra sees it."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from core.config.command_line import FLAGS, LONGEST, REFUSED, check
from core.errors import ConfigError
from tests.conftest import Command


@pytest.mark.parametrize("flag", FLAGS)
def test_flags_that_are_known_are_taken(flag: str) -> None:
    """Known flags are accepted with a value as the next word, or after `=`."""
    check([flag, "job"])


@pytest.mark.parametrize(
    "flag",
    [
        *REFUSED,
        *(flag[:-cut] for flag in REFUSED if flag.startswith("--") for cut in (1, 4)),
        *(f"{flag}=folder" for flag in REFUSED),
        "-mcd", "-cdfolder", "-cnx", "-cjob", "--", "-", "---", "--cf", "-x", "-sc",
        "--shell-completion",
    ],
)  # fmt: skip
def test_flags_that_let_files_in_are_refused(flag: str) -> None:
    """Flags that load files are refused in full, abbreviated, joined, and with their value."""
    with pytest.raises(ConfigError, match="there is no flag"):
        check(["recipe=x", flag, "folder"])


def test_a_file_that_runs_code_when_it_is_unpickled_is_not_opened(
    command: Command, tmp_path: Path
) -> None:
    """`--experimental-rerun` is refused, since Hydra would unpickle a file and run its code."""

    class Evil:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return Path.touch, (tmp_path / "RAN",)  # type: ignore[return-value]  # any callable

    (tmp_path / "config.pickle").write_bytes(pickle.dumps(Evil()))
    done = command("--experimental-rerun", str(tmp_path / "config.pickle"))
    assert done.code == 2
    assert "recipe.lock.yaml" in done.err
    assert not (tmp_path / "RAN").exists()


@pytest.mark.parametrize(
    "word",
    [
        *(f"a={one * count}" for one in "[{(" for count in (41, 10_000)),
        "a=" + "{a:" * 500,
        "a=" + "choice(" * 500,
        "${" * 5000,
        "x" * (LONGEST + 1),
        "a=" + "1" * LONGEST,
        "=1", "+=1", "~=1", "++=",
    ],
)  # fmt: skip
def test_words_that_would_break_the_parser_are_refused(command: Command, word: str) -> None:
    """Deep words, long words, and words without a key give one short message."""
    done = command("recipe=x", word)
    assert done.code == 2
    assert len(done.err) < 600


@pytest.mark.parametrize(
    "words",
    [
        ["--resolve"],
        ["a@b=1"],
        ["model@hydra=gain"],
        ["model=nan"],
        ["hydra=1"],
        ["chunker.length=[1"],
        ["chunker.length=1e400"],
        ["chunker.length=${x}"],
        ["chunker.length=\udce9"],
        ["model.gain=cast(int,1)"],
        ["model.gain=" + "1" * 5000],
        ["target.precisions=[[]]"],
        ["dataset@calibration=null"],
        ["contract=5"],
        ["measure=1"],
        ["-m", "chunker.length=choice()"],
        ["-m", "hydra.sweeper.params=1"],
    ],
)
def test_no_error_of_a_library_reaches_a_person_bare(
    command: Command, recipe: Path, words: list[str]
) -> None:
    """Any error of Hydra, OmegaConf or the parser becomes a config error: exit code 2."""
    done = command(f"recipe={recipe}", "mode=plan", *words)
    assert done.code == 2, done.err
    assert "Traceback" not in done.err
    assert "unexpected" not in done.err


@pytest.mark.parametrize(
    "words",
    [
        ["recipe=a", "recipe=b"],
        ["model.gain=1", "++model.gain=2"],
        ["calibration=a", "dataset@calibration=b"],
        ["host=null", "host=onnxruntime"],
    ],
)
def test_a_key_with_two_values_is_refused(words: list[str]) -> None:
    """Hydra would take the last one in silence; the same value twice says nothing new."""
    with pytest.raises(ConfigError, match="is given twice") as refused:
        check(["-m", *words])
    assert f"{words[0]} and {words[1]}" in refused.value.what
    check([words[0], words[0]])
