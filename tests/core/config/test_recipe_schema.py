"""The JSON Schema of recipes: it takes every recipe that is shipped, and no misspelt one."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from core.config.compose import CONF
from core.config.discovery import discover
from core.config.recipe_schema import recipe_schema
from core.config.yaml_file import read_mapping
from tests import toy
from tests.conftest import RECIPE, Command

ROOT = Path(__file__).parents[3]
RECIPES = sorted((ROOT / "recipes").glob("*.yaml"))
EXAMPLES = sorted(ROOT.glob("examples/*/*/recipes/*.yaml"))


@pytest.fixture(scope="module")
def boxed() -> dict[str, Any]:
    """Return the schema that is published: of the plugins in the box."""
    text = (ROOT / "docs" / "schemas" / "recipe.schema.json").read_text(encoding="utf-8")
    schema: dict[str, Any] = json.loads(text)
    jsonschema.Draft202012Validator.check_schema(schema)
    return schema


def valid(schema: dict[str, Any], content: object) -> bool:
    """Return whether a recipe is valid."""
    return bool(jsonschema.Draft202012Validator(schema).is_valid(content))


@pytest.mark.parametrize("file", RECIPES, ids=lambda file: file.stem)
def test_every_recipe_of_the_box_is_valid(boxed: dict[str, Any], file: Path) -> None:
    """The schema takes each recipe in `recipes/`."""
    jsonschema.validate(read_mapping(file, "a recipe"), boxed, jsonschema.Draft202012Validator)


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: file.stem)
def test_recipes_of_examples_are_valid(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With another distribution, its plugins and presets are part of the schema."""
    package = file.parents[1]
    monkeypatch.syspath_prepend(str(package.parent))
    schema = recipe_schema(discover({package.name: importlib.import_module(package.name)}), CONF)
    content = read_mapping(file, "a recipe")
    jsonschema.validate(content, schema, jsonschema.Draft202012Validator)


def test_there_are_recipes_to_look_at() -> None:
    """The tests above have found the recipes."""
    assert RECIPES
    assert EXAMPLES


@pytest.mark.parametrize(
    "change",
    [
        {"modle": "htdemucs"},
        {"model": "htdemcs"},
        {"target": "s42"},
        {"chunker": {"plugin": "overlap_add", "lenght": 3}},
        {"chunker": {"plugin": "overlap_ad"}},
        {"chunker": {"lenght": 3}},
        {"graph": ["onnxsmi"]},
        {"graph": ["onnxsim", "onnxsim"]},
        {"reporter": {"html": {"codex": "ogg"}}},
        {"reporter": {"html": {"preview_items": "many"}}},
        {"measure": {"worst": 3}},
        {"contract": {"min_snr": 3}},
        {"contract": {"min_snr_db": "good"}},
        {"batch": {"address": "ray://x"}},
        {"mode": "pln"},
        {"store": "/x"},
        {"defaults": [{"hydra/launcher": "joblib"}]},
        {"auto": "perhaps"},
        {"title": 5},
    ],
)
def test_a_typo_is_not_valid(boxed: dict[str, Any], change: dict[str, Any]) -> None:
    """A misspelt key, name, option or value is refused."""
    good = read_mapping(ROOT / "recipes" / "s24_int8.yaml", "a recipe")
    assert valid(boxed, good)
    assert not valid(boxed, {**good, **change})


@pytest.mark.parametrize(
    "change",
    [
        {"chunker": {"overlap": 0.5}},
        {"runtime": None},
        {"runtime": {"plugin": "openvino", "device": "CPU"}},
        {"quantizer": {"plugin": "int8", "windows": 4}},
        {"reporter": {"html": {"preview_items": 2}, "json": None}},
        {"graph": "onnxsim"},
        {"model": {"plugin": "htdemucs", "weights": "pretrained"}},
        {"dataset": {"plugin": "synthetic", "seconds": "${target.facts.seconds}"}},
        {"target": {"name": "mine", "runtime": "torch", "facts": {"a": 1}}},
        {"precision": {"name": "mine"}},
        {"defaults": [{"target": "cpu"}, {"override /dataset@calibration": "synthetic"}, "_self_"]},
        {"ladder": ["fp16", "int8"]},
        {"fit": {"precisions": ["int8"], "shortest": None}},
        {"measure": {"against": {"plugin": "whole"}}},
    ],
)
def test_every_way_to_write_a_recipe_is_valid(boxed: dict[str, Any], change: Any) -> None:
    """Options without a name, presets, references and Hydra's own way are taken."""
    good = read_mapping(ROOT / "recipes" / "s24_int8.yaml", "a recipe")
    assert valid(boxed, {**good, **change})


def test_a_command_prints_the_schema_of_what_is_installed(command: Command, recipe: Path) -> None:
    """`--recipe-schema` knows the plugins of other distributions, with their options."""
    schema = json.loads(command("--recipe-schema").out)
    assert recipe.read_text() == RECIPE
    content = read_mapping(recipe, "a recipe")
    assert valid(schema, content)
    assert valid(schema, {**content, "model": {"plugin": "gain", "gain": 3}})
    assert not valid(schema, {**content, "model": {"plugin": "gain", "gian": 3}})
    assert toy.Gain.name in str(schema)
