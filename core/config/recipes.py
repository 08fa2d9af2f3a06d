"""Recipes: short YAML files that name one plugin per slot, turned into what Hydra composes.

    model: htdemucs                                  ->  override /model: htdemucs
    graph: [onnxsim]                                 ->  override /graph: [onnxsim]
    chunker: {plugin: overlap_add, length: 44100}    ->  override /chunker: _my_recipe_chunker,
                                                         a choice that holds plugin and options

A slot's plugin and options are one choice, so that `chunker=whole` on the command line replaces
both, and no options of the replaced plugin remain.

Every recipe is checked against `core/config/grammar.py`, which says what it may hold.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from core.config.grammar import OWN, check_recipe, slot_of
from core.config.settings import PLURAL, SLOTS, check_once, group_of
from core.config.yaml_file import read_mapping
from core.errors import ConfigError
from core.machine.program import line
from core.plugin.options import PLUGIN_KEY

__all__ = ["OWN", "Recipe", "name_of", "read_recipes"]


@dataclass(frozen=True)
class Recipe:
    """A recipe file: its name, its title, its content for Hydra (`node`), and its own choices.

    `choices` are keyed by group and name. `given` marks a recipe that was named by its path.
    `content` is the content of its file.
    """

    name: str
    title: str
    file: Path
    node: dict[str, Any]
    choices: dict[tuple[str, str], dict[str, Any]]
    given: bool = False
    content: Mapping[str, Any] = field(default_factory=dict)


def name_of(file: Path) -> str:
    """Return the name of a recipe: that of its file, without characters that Hydra rejects."""
    stem = file.name.removesuffix(file.suffix)
    name = "".join(c if c.isascii() and (c.isalnum() or c == "_") else "_" for c in stem)
    # Hydra would read these as a number, a boolean or null.
    if not name[:1].isalpha() or name.lower() in ("null", "true", "false", "inf", "nan"):
        return f"recipe_{name}"
    return name


def read_recipes(folders: Iterable[Path], given: Iterable[str] = ()) -> dict[str, Recipe]:
    """Read every recipe of `folders`, and the files that `given` names by their path.

    A given file replaces a recipe of the same name: the person meant the file.
    """
    recipes: dict[str, Recipe] = {}
    for file in (file for folder in folders for file in sorted(folder.glob("*.yaml"))):
        name = name_of(file)
        if name in recipes:
            raise ConfigError(
                f"two recipes are named `{name}`", f"{recipes[name].file}", f"{file}", "rename one"
            )
        recipes[name] = _bridge(name, file)
    named = (_bridge(name_of(Path(f)), Path(f)) for f in given)
    return recipes | {recipe.name: replace(recipe, given=True) for recipe in named}


def _bridge(name: str, file: Path) -> Recipe:
    """Read one recipe and turn its short form into Hydra's defaults list."""
    content = _content(name, file)
    check_recipe(content, f"recipe `{name}`", str(file))
    defaults = [_default(entry) for entry in content.get("defaults") or () if entry != "_self_"]
    node: dict[str, Any] = {}
    choices: dict[tuple[str, str], dict[str, Any]] = {}
    for key, value in content.items():
        choice: Any = None
        if key in PLURAL:
            choice = [value] if isinstance(value, str) else list(value or [])
            check_once(key, choice)
            if isinstance(value, Mapping):
                node[key] = {plugin: options for plugin, options in value.items() if options}
        elif key in SLOTS and isinstance(value, Mapping) and PLUGIN_KEY in value:
            choice = f"{OWN}{name}_{key}"
            options = {k: v for k, v in value.items() if k != PLUGIN_KEY}
            choices[SLOTS[key], choice] = {**options, "defaults": [value[PLUGIN_KEY], "_self_"]}
        elif key in ("target", "precision", *SLOTS) and not isinstance(value, Mapping):
            choice = value
        elif key != "defaults":
            node[key] = value
        if choice is not None:
            defaults.append({f"override /{group_of(key)}": choice})
    title = str(content.get("title", ""))
    composed = {**node, "defaults": [*defaults, "_self_"]}
    return Recipe(name, title, file, composed, choices, content=content)


def _default(entry: Mapping[str, Any]) -> dict[str, Any]:
    """Return one choice of a recipe's own `defaults`, as Hydra takes it."""
    ((key, choice),) = entry.items()
    slot = slot_of(key)
    assert slot is not None, "the grammar knows the group"
    return {f"override /{group_of(slot)}": choice}


def _content(name: str, file: Path) -> dict[str, Any]:
    """Return the mapping in a recipe file."""
    try:
        return read_mapping(file, f"recipe `{name}`")
    except FileNotFoundError:
        raise ConfigError(
            f"recipe `{file}` does not exist", f"see the built-in recipes: {line(['mode=list'])}"
        ) from None
    except ConfigError as error:
        if file.suffix.lower() in ("", ".yaml", ".yml"):
            raise
        raise ConfigError(
            error.what, *error.lines, f"if it is to be played, write: input={file}"
        ) from error
    except OSError as error:
        raise ConfigError(
            f"recipe `{name}` cannot be read: {error.strerror or error}", f"file: {file}"
        ) from error
