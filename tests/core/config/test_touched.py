"""A recipe of a stranger has its own folder; for all else the person is asked, and told."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.cli import main
from core.config.compose import composing, register
from core.config.pipeline import make_pipeline
from core.config.recipes import read_recipes
from core.config.touched import touched
from core.errors import ConfigError
from tests.conftest import Command

RECIPE = """\
title: /etc/passwd is only a title
model: {{plugin: htdemucs, weights: {weights}}}
dataset: {{plugin: files, path: {path}}}
dsp: stft
chunker: whole
runtime: onnxruntime
graph: {{onnxsim: {{sizes: {{a: 1}}}}}}
{more}
"""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder of a recipe, with a song; another song lies outside, a link leads there."""
    folder = tmp_path / "given"
    folder.mkdir()
    (folder / "song.wav").touch()
    (tmp_path / "secret.wav").touch()
    (tmp_path / "2024").mkdir()
    (folder / "link.wav").symlink_to(tmp_path / "secret.wav")
    monkeypatch.chdir(tmp_path)
    return folder


def assembled(folder: Path, *typed: str, **said: str) -> None:
    said = {"path": "given/song.wav", "weights": "random", "more": "", **said}
    (folder / "mine.yaml").write_text(RECIPE.format(**said))
    registry = main.discover()
    recipes = read_recipes((), [str(folder / "mine.yaml")])
    register(registry, recipes)
    with composing(["recipe=mine", *typed]) as cfg:
        make_pipeline(cfg, registry, "mine", recipes)


@pytest.mark.parametrize(
    "said",
    [
        {"path": "/etc"},
        {"path": "secret.wav"},
        {"path": "given/../secret.wav"},
        {"path": "given/link.wav"},
        {"path": "given"},
        {"path": "'given/*.wav'"},
        {"path": "'*.wav'"},
        {"path": "'[st]ecret.wav'"},
        {"path": "2024"},
        {"path": "'~/music'"},
        {"path": "'C:/music'"},
        {"path": "'\\\\host\\share'"},
        {"weights": "'https://example.org/x.th'"},
        {"weights": "'hf://somebody/something'"},
        {"weights": "/etc/passwd"},
        {"more": "reporter: {mlflow: {uri: 'https://example.org'}}"},
        {"more": "reporter: {mlflow: {uri: 'sqlite:////tmp/x.db'}}"},
        {"more": "reporter: {mlflow: {uri: databricks}}"},
        {"more": "reporter: {mlflow: {uri: 'file:runs'}}"},
        {"more": "input: secret.wav"},
        {"more": "exporter: {plugin: none}\ntarget: {facts: {library: /etc/evil.so}}"},
        {"more": "target: {facts: {song: secret.wav}}", "path": "'${target.facts.song}'"},
        {"more": "quantizer: {plugin: qdq, exclude: [/enc/Conv, 'https://example.org']}"},
    ],
)
def test_what_lies_outside_is_asked_for(home: Path, said: dict[str, str]) -> None:
    """The error names the option, its value, and the command that allows it."""
    with pytest.raises(ConfigError, match="names a place outside its own folder") as error:
        assembled(home, **said)
    assert "if you want this, set it on the command line: python -m core" in str(error.value)


def test_its_own_folder_is_its_own(home: Path) -> None:
    """A song beside the recipe, and words that are no paths, need no permission."""
    assembled(home)
    assembled(home, more="exporter: {plugin: onnx}\nquantizer: {plugin: qdq, exclude: [/enc/Conv]}")


def test_an_option_that_is_left_empty_names_nothing(home: Path) -> None:
    """A lock file has every option, also one that takes a path and has none."""
    assembled(home, more="reporter: {html: {against: ''}}")


def test_a_word_of_the_plugins_own_is_no_path(home: Path) -> None:
    """A plugin's own word is no path, even where a folder of that name exists, as demucs makes."""
    (home.parent / "bundled").mkdir()
    assembled(home, weights="bundled")


def test_to_take_no_input_says_nothing_of_the_recipes(home: Path) -> None:
    """`input=null` does not allow the recipe's own path."""
    with pytest.raises(ConfigError, match="names a place outside its own folder"):
        assembled(home, "input=null", path="secret.wav")


def test_weights_of_others_are_named_as_such(home: Path) -> None:
    """Third-party weights are named in the error, so that they are never fetched unnoticed."""
    with pytest.raises(ConfigError, match="hf://somebody/model"):
        assembled(home, more="ladder: []", weights="pretrained, name: somebody/model")


def test_what_the_person_says_is_the_persons(home: Path) -> None:
    """A value from the command line, or another choice in its place, needs no permission."""
    assembled(home, "dataset.path=secret.wav", path="secret.wav")
    assembled(home, "input=secret.wav", path="/etc")
    assembled(home, "model=htdemucs_small", weights="/etc/passwd")


@pytest.mark.parametrize("key", ["store", "output", "batch"])
def test_where_it_writes_and_whom_it_joins_no_recipe_says(home: Path, key: str) -> None:
    """A recipe cannot set the store, the output folder, or the address of a cluster."""
    value = "{address: 'ray://somewhere:1'}" if key == "batch" else "elsewhere"
    with pytest.raises(ConfigError, match="only the command line"):
        assembled(home, more=f"{key}: {value}")


def test_a_plan_says_all_that_a_run_would_touch(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A plan lists files, hosts of pretrained weights and services, the store, and the output."""
    monkeypatch.delenv("HF_ENDPOINT", raising=False)
    registry = main.discover()
    (home / "mine.yaml").write_text(
        RECIPE.format(path="given/song.wav", weights="pretrained", more="").replace(
            "onnxruntime", "{plugin: qai_hub, device: x}"
        )
    )
    recipes = read_recipes((), [str(home / "mine.yaml")])
    register(registry, recipes)
    with composing(["recipe=mine"]) as cfg:
        pipeline = make_pipeline(cfg, registry, "mine", recipes)
    found = {
        (reach.how, reach.where) for reach in touched(pipeline.plugins, "s3://bucket/x", "out")
    }
    assert found == {
        ("asks", "huggingface.co"),
        ("asks", "dl.fbaipublicfiles.com"),
        ("asks", "workbench.aihub.qualcomm.com"),
        ("reads", str(home / "song.wav")),
        ("asks", "bucket"),
        ("writes", str(home.parent / "out")),
    }


def test_the_plan_of_a_command_shows_it(command: Command, recipe: Path, tmp_path: Path) -> None:
    """The plan shows all of this below the steps."""
    out = command(f"recipe={recipe}", "mode=plan").out
    assert f"writes {tmp_path / 'store'}" in out
    assert f"writes {tmp_path / 'outputs'}" in out
