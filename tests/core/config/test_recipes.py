"""What a recipe may say, and what it may not."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.config.recipes import read_recipes
from core.errors import ConfigError


def read(tmp_path: Path, text: str) -> None:
    (tmp_path / "mine.yaml").write_text(text)
    read_recipes([tmp_path])


@pytest.mark.parametrize(
    "text",
    [
        "hydra: {job: {env_set: {PYTHONPATH: /tmp/evil}}}",
        "defaults: [{override hydra/job_logging: none}]",
        "store: ${oc.env:HOME}/x",
        "model: {plugin: htdemucs, weights: '${oc.env:TOKEN}'}",
        "model: {_target_: os.system}",
        (
            'defaults: ["/dataset/_x_calibration@hydra.job_logging"]\n'
            "calibration: {plugin: synthetic, defaults: [_self_], root: {handlers: [h]},"
            ' handlers: {h: {"()": setuptools._distutils.spawn.spawn, cmd: [touch, RAN]}}}'
        ),
        (
            "batch: {address: env}\n"
            'model: {plugin: htdemucs, weights: "${oc.${batch.address}:AWS_SECRET_ACCESS_KEY}"}'
        ),
    ],
)
def test_a_recipe_from_the_internet_reaches_no_further_than_its_stages(
    tmp_path: Path, text: str
) -> None:
    """A recipe sets no environment, no loggers, no folders of Hydra's, and no class paths."""
    with pytest.raises(ConfigError, match="recipe `mine`") as error:
        read(tmp_path, text)
    assert "mine.yaml" in str(error.value)


@pytest.mark.parametrize(
    "text", ["model: 5", "graph: 5", "defaults: 5", "1: 2", "title: {a: 1}", "target: [cpu]"]
)
def test_a_value_that_can_be_no_choice_is_refused(tmp_path: Path, text: str) -> None:
    """An invalid value gives one message with the file."""
    with pytest.raises(ConfigError, match="mine"):
        read(tmp_path, text)


def test_a_plugin_and_its_options_are_one_choice(tmp_path: Path) -> None:
    """A plugin and its options form one choice, so that another plugin replaces both."""
    (tmp_path / "mine.yaml").write_text("chunker: {plugin: overlap_add, length: 7}\n")
    recipe = read_recipes([tmp_path])["mine"]
    ((group, name),) = recipe.choices
    assert group == "chunker"
    assert recipe.node["defaults"][0] == {"override /chunker": name}
    assert "chunker" not in recipe.node
