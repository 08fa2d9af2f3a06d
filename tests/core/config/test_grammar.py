"""The grammar of recipes and presets: what the box says is allowed, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.cli import main
from core.config.compose import CONF, composing, register
from core.config.grammar import check_preset, check_recipe
from core.config.hydra_errors import FOREIGN
from core.config.pipeline import make_pipeline
from core.config.presets import read_presets
from core.config.recipes import read_recipes
from core.config.yaml_file import read_mapping
from core.errors import ConfigError, LuthierError
from tests.fuzz.hydra_syntax import hostile

ROOT = CONF.parent
RECIPES = sorted([*(ROOT / "recipes").glob("*.yaml"), *(ROOT / "examples").rglob("recipes/*.yaml")])
PRESETS = [CONF, ROOT / "tests" / "presets", *(ROOT / "examples").glob("*/*/conf")]


@pytest.mark.parametrize("file", RECIPES, ids=lambda file: file.stem)
def test_every_recipe_of_ours_is_allowed(file: Path) -> None:
    """Every recipe in the box and in the example is allowed."""
    check_recipe(read_mapping(file, "it"), "it", str(file))


def test_every_preset_of_ours_is_allowed() -> None:
    """Our presets pass the same grammar as those of other distributions."""
    assert {preset.group for preset in read_presets(PRESETS)} == {
        "target", "precision", "model", "quantizer", "chunker",
    }  # fmt: skip


def test_hostile_recipes_are_refused_and_nothing_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The grammar refuses hostile Hydra syntax; the config refuses bad names and types."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LUTHIER_CANARY", "sings")
    registry = main.discover()
    file, through, said = tmp_path / "mine.yaml", list[str](), list[str]()
    for recipe in hostile(175, seed=7):
        file.write_bytes(recipe.data)
        try:
            recipes = read_recipes((), [str(file)])
            register(registry, recipes)
            with composing(["recipe=mine"]) as cfg:
                make_pipeline(cfg, registry, "mine", recipes)
        except (LuthierError, *FOREIGN) as error:
            said.append(str(error))
        else:
            through.append(f"{recipe.construct}: {recipe.why}")
    assert through == []
    assert not [text for text in said if "sings" in text]
    assert [path.name for path in tmp_path.iterdir()] == ["mine.yaml"]


@pytest.mark.parametrize(
    "text",
    [
        "ladder: ['../../evil']",
        "ladder: [1]",
        "ladder: [null]",
        "fit: {precisions: ['../evil']}",
        "target: {precisions: ['x@hydra.job_logging']}",
        "target: {runtime: '/evil'}",
        "target: {host: a/b}",
    ],
)
def test_what_is_composed_with_later_is_a_name(tmp_path: Path, text: str) -> None:
    """Names to compose with are checked: Hydra would read any file that a path leads to."""
    (tmp_path / "mine.yaml").write_text(text)
    with pytest.raises(ConfigError, match="no name"):
        read_recipes((), [str(tmp_path / "mine.yaml")])
    if text.startswith("target"):
        node = read_mapping(tmp_path / "mine.yaml", "it")["target"]
        with pytest.raises(ConfigError, match="no name"):
            check_preset(node, "target", "preset `x`", "x.yaml")


@pytest.mark.parametrize(
    "text",
    [
        "${oc.env:HOME}",
        "${oc.${batch.address}:AWS_SECRET_ACCESS_KEY}",
        "${hydra.runtime.cwd}",
        "${store}",
        "${.length}",
        "${chunker}",
        "x${target.name}",
        "${target.name}${target.name}",
        "${target.name",
        "${target[name]}",
        "\\\\${target.name}",
        "\\${target.name}${target.name}",
        "${quantizer.other}",
    ],
)
def test_a_text_refers_to_one_plain_value_of_its_own_or_to_nothing(text: str) -> None:
    """A text has no resolver, no reference to other parts, and nothing that grows when expanded."""
    content = {
        "target": {"name": "x"},
        "chunker": {"plugin": "whole"},
        "quantizer": {"plugin": "none", "other": "${target.name}"},
        "model": {"plugin": "m", "weights": text},
    }
    with pytest.raises(ConfigError, match=r"refers|reaches"):
        check_recipe(content, "recipe `x`", "x.yaml")


@pytest.mark.parametrize(
    "content",
    [
        {"model": {"plugin": "m", "weights": "${target.facts.layout}"}},
        {"target": {"name": "x"}, "model": {"plugin": "m", "weights": "${target.name}"}},
        {"defaults": [{"override /target": "cpu"}, {"dataset@calibration": "synthetic"}, "_self_"]},
        {"graph": {"onnxsim": None, "bare": {"keep": ["/encoder.0/Conv"]}}},
        {"graph": {"onnxsim": {"sizes": {"any name/at all:0": 3}}}},
        {"model": {"plugin": "m", "weights": "a \\${oc.env:HOME}\\\\\\${"}},
        {"quantizer": None, "precision": {"name": "mine", "title": "of my own"}},
    ],
)
def test_what_recipes_need_is_allowed(content: dict[str, object]) -> None:
    """References to facts, Hydra's choices, free keys inside options, and an escaped `${`."""
    check_recipe(content, "recipe `x`", "x.yaml")


@pytest.mark.parametrize(
    ("content", "group"),
    [
        ({"defaults": ["/hydra/callbacks/x"]}, "chunker"),
        ({"defaults": [{"override hydra/launcher": "joblib"}]}, "chunker"),
        ({"defaults": "tiles"}, "chunker"),
        ({"defaults": ["tiles@_global_"]}, "chunker"),
        ({"plugin": "tiles"}, "chunker"),
        ({"hydra": {"run": {"dir": "x"}}}, "target"),
        ({"length": "${oc.env:HOME}"}, "chunker"),
        ({"facts": {"soc": {"_target_": "os.system"}}}, "target"),
    ],
)
def test_a_preset_reaches_no_further_than_its_options(
    content: dict[str, object], group: str
) -> None:
    """Presets of other distributions must obey the same grammar."""
    with pytest.raises(ConfigError, match="preset"):
        check_preset(content, group, "preset `x`", "x.yaml")


def test_presets_of_others_never_reach_hydra_as_files(tmp_path: Path) -> None:
    """A group of Hydra's own, a duplicate name and an invalid name are each refused by file."""
    (tmp_path / "hydra" / "callbacks").mkdir(parents=True)
    with pytest.raises(ConfigError, match="unknown group `hydra`"):
        read_presets([tmp_path])
    other = tmp_path / "other"
    (other / "target").mkdir(parents=True)
    (other / "target" / "s24.yaml").write_text("# @package hydra.job_logging\nname: s24\n")
    with pytest.raises(ConfigError, match="two presets of target are named `s24`"):
        read_presets([CONF, other])
    (other / "target" / "s24.yaml").rename(other / "target" / "../target/x y.yaml")
    with pytest.raises(ConfigError, match="no recipe can use"):
        read_presets([other])
