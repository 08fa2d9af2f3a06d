"""What a person types, rewritten to Hydra's grammar, and back again through Hydra."""

from __future__ import annotations

import shlex
import subprocess
from pathlib import Path

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

from core.config.arguments import as_text, command, rewrite
from core.errors import ConfigError


def test_a_command_is_told_as_a_person_types_it() -> None:
    """Messages show keys as a person types them, not Hydra's groups, which a command refuses."""
    typed = [
        "recipe=s24_int8",
        "runtime=onnxruntime",
        "calibration=files",
        "host=null",
        "fit.step=1",
    ]
    told = command(rewrite(typed)[0], {})
    assert told.split() == ["python", "-m", "core", *typed]


@pytest.mark.parametrize(
    "value",
    [
        "song.flac",
        "a song (live) = 1, [x] {y}.wav",
        "it's.wav",
        "back\\slash.wav",
        "C:\\music\\song.wav",
        "ends in\\",
        "\\'both.wav",
        "größe 日本.wav",
        "a ${x}\\${oc.env:HOME}.wav",
        "two\nlines\\\n",
    ],
)
def test_a_path_survives_the_grammar(value: str) -> None:
    """The config gets the exact name of a file, whatever it is, and a message shows it so."""
    (argument,), _ = rewrite([f"input={value}"])
    (override,) = OverridesParser.create().parse_overrides([argument])
    assert OmegaConf.create({"input": override.value()}).input == value
    shown = command([argument], {})
    if value.isprintable():
        assert shlex.split(shown)[-1] == f"input={value}"
    else:  # in one line, which a shell reads back
        assert "\n" not in shown
        said = subprocess.run(
            ["bash", "-c", f"printf %s {shown.split()[-1]}"],  # noqa: S607  # as a person types it
            capture_output=True,
            text=True,
            check=True,
        )
        assert said.stdout == f"input={value}"
    (override,) = OverridesParser.create().parse_overrides([as_text(f"model.weights={value}")])
    assert OmegaConf.create({"weights": override.value()}).weights == value


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("calibration=files", "dataset@calibration=files"),
        ("host=null", "~runtime@host"),
        ("chunker=whole", "chunker=whole"),
        ("chunker.length=7", "chunker.length=7"),
        ("--help", "--help"),
    ],
)
def test_slots_are_chosen_from_their_groups(typed: str, meant: str) -> None:
    """A person names the slot; Hydra gets the group."""
    assert rewrite([typed]) == ([meant], [])


def test_a_recipe_may_be_a_file(tmp_path: Path) -> None:
    """Recipes may be files, with or without an extension, and several in a sweep."""
    bare = tmp_path / "bare-one"
    bare.touch()
    arguments, files = rewrite(["-m", f"recipe=a.yaml,{bare},cpu_fp32"])
    assert arguments == ["-m", "recipe=a,bare_one,cpu_fp32"]
    assert files == ["a.yaml", str(bare)]


def test_a_sweep_over_songs_keeps_the_comma_between_them() -> None:
    """Each song of a list is quoted by itself, so a sweep keeps the comma between them."""
    assert rewrite(["-m", "input=a b.wav,c.wav"])[0][1] == "input='a b.wav','c.wav'"
    assert rewrite(["-m", "input='a,b.wav',c.wav"])[0][1] == "input='a,b.wav','c.wav'"


def test_a_file_with_a_comma_in_its_name_is_one_value(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A sweep takes it as one song or recipe, without quotes, where there is such a file."""
    monkeypatch.chdir(tmp_path)
    Path("a,b.wav").touch()
    Path("a,b.yaml").touch()
    arguments, files = rewrite(["-m", "input=a,b.wav", "recipe=a,b.yaml"])
    assert arguments == ["-m", "input='a,b.wav'", "recipe=a_b"]
    assert files == ["a,b.yaml"]


@pytest.mark.parametrize("empty", ["input=", "recipe=", "recipe=null"])
def test_an_empty_value_is_refused(empty: str) -> None:
    """An empty value such as `input=$SONG` without SONG never means the current folder."""
    with pytest.raises(ConfigError):
        rewrite([empty])


@pytest.mark.parametrize(
    "word",
    ["target=../x", "precision=a/b", "recipe=../../x", "dataset=/x", "calibration=../x",
     "+dataset@calibration=../x", "model=${oc.env:HOME}", "quantizer=a\\b"],
)  # fmt: skip
def test_a_choice_is_a_name_and_no_path(word: str) -> None:
    """A choice with a path is refused: Hydra would read any file as one of the box's."""
    with pytest.raises(ConfigError, match="not a path"):
        rewrite([word])


def test_recipes_of_one_name_are_told_apart(tmp_path: Path) -> None:
    """Two recipes of one name are both named in the error, because only one would run."""
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "x.yaml").touch()
    with pytest.raises(ConfigError, match="two of the recipes are named `x`"):
        rewrite(["-m", f"recipe={tmp_path}/a/x.yaml,{tmp_path}/b/x.yaml"])
    with pytest.raises(ConfigError, match="two of the recipes are named `cpu_fp32`"):
        rewrite(["-m", "recipe=cpu_fp32,./cpu_fp32.yaml"])


@pytest.mark.parametrize("name", ["café", "ünï", "²x", "null", "true", "5", "1e5", "inf", "_x"])
def test_any_file_can_be_a_recipe(name: str) -> None:
    """A recipe file may have any name, though Hydra takes ASCII letters only and reserves words."""
    (argument,), _ = rewrite([f"recipe={name}.yaml"])
    (override,) = OverridesParser.create().parse_overrides([argument])
    assert isinstance(override.value(), str)
