"""Recipes: short YAML files that name one plugin per slot, turned into what Hydra composes.

    model: htdemucs                                  ->  override /model: htdemucs
    graph: [onnxsim]                                 ->  override /graph: [onnxsim]
    chunker: {plugin: overlap_add, length: 44100}    ->  override /chunker: _my_recipe_chunker,
                                                         a choice that holds plugin and options

A slot's plugin and options are one choice, so that `chunker=whole` on the command line replaces
both, and options of a plugin that is no longer there cannot linger.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from core.config import PLURAL, SLOTS, Settings, check_once, group_of
from core.errors import ConfigError, did_you_mean
from core.options import PLUGIN_KEY

__all__ = ["OWN", "Recipe", "name_of", "read_recipes"]

#: What the name of a choice starts with that belongs to one recipe; lists leave these out.
OWN = "_"


@dataclass(frozen=True)
class Recipe:
    """A recipe file: its name, its one line, its content as Hydra takes it, and its own choices.

    `choices` are keyed by group and name. `given` marks one that was named by its path.
    """

    name: str
    title: str
    file: Path
    node: dict[str, Any]
    choices: dict[tuple[str, str], dict[str, Any]]
    given: bool = False


def name_of(file: Path) -> str:
    """Return the name of a recipe: that of its file, without what Hydra's grammar cannot take."""
    stem = file.name.removesuffix(file.suffix)
    return "".join(c if c.isalnum() or c == "_" else "_" for c in stem)


def read_recipes(folders: Iterable[Path], given: Iterable[str] = ()) -> dict[str, Recipe]:
    """Read every recipe of `folders`, and the files that `given` names by their path.

    A given file may carry the name of a recipe in the box: the person meant the file.
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
    given = _content(name, file)
    known = [*Settings.__dataclass_fields__, "defaults"]
    _refuse_code(name, file, given)
    node: dict[str, Any] = {}
    choices: dict[tuple[str, str], dict[str, Any]] = {}
    defaults = given.pop("defaults", None) or []
    if not isinstance(defaults, list):
        raise ConfigError(f"recipe `{name}`: `defaults` is not a list", f"file: {file}")
    for key, value in given.items():
        _check_shape(name, file, key, value)
        if key not in known:
            raise ConfigError(
                f"recipe `{name}` has the unknown key `{key}`",
                f"file: {file}",
                did_you_mean(key, known),
                f"keys: {', '.join(sorted(known))}",
            )
        choice: Any = None
        if key in ("target", "precision") and isinstance(value, str):
            choice = value
        elif key in PLURAL:
            choice = [value] if isinstance(value, str) else list(value or [])
            check_once(key, [str(name) for name in choice])
            if isinstance(value, Mapping):
                node[key] = {plugin: options for plugin, options in value.items() if options}
        elif key in SLOTS and isinstance(value, Mapping) and PLUGIN_KEY in value:
            choice = f"{OWN}{name}_{key}"
            options = {k: v for k, v in value.items() if k != PLUGIN_KEY}
            choices[SLOTS[key], choice] = {"defaults": [value[PLUGIN_KEY], "_self_"], **options}
        elif key in SLOTS and not isinstance(value, Mapping):
            choice = value
        else:
            node[key] = value
        if choice is not None:
            defaults.append({f"override /{group_of(key)}": choice})
    title = str(given.get("title", ""))
    return Recipe(name, title, file, {"defaults": [*defaults, "_self_"], **node}, choices)


def _refuse_code(name: str, file: Path, given: Mapping[Any, Any]) -> None:
    """Refuse what would let a recipe from the internet reach beyond the stages it names.

    Hydra's own keys set environment variables, loggers and folders, and a resolver such as
    `${oc.env:...}` reads what is none of a recipe's business.
    """
    text = str(given)
    hydra = "hydra" in given or "hydra/" in str(given.get("defaults", ""))
    resolver = re.search(r"\$\{[^}]*:", text)
    if hydra or resolver or "_target_" in text:
        raise ConfigError(
            f"recipe `{name}` reaches beyond its stages",
            f"file: {file}",
            f"at: {'`hydra`' if hydra else resolver[0] + '...}' if resolver else '`_target_`'}",
            "a recipe names plugins and options; set the rest on the command line",
        )


def _check_shape(name: str, file: Path, key: object, value: object) -> None:
    """Refuse a value that can be no choice: a number for a plugin, say."""
    allowed: tuple[type, ...] = (str, Mapping, type(None))
    if key in PLURAL:
        allowed = (*allowed, list)
    wrong = key in (*SLOTS, "target", "precision") and not isinstance(value, allowed)
    wrong = wrong or (key == "title" and not isinstance(value, str))
    if wrong or not isinstance(key, str):
        raise ConfigError(
            f"recipe `{name}`: `{key}` cannot be `{value}`",
            f"file: {file}",
            "a stage is a plugin's name, or a mapping with `plugin` and its options",
        )


def _content(name: str, file: Path) -> dict[str, Any]:
    """Return the mapping in a recipe file."""
    try:
        raw = OmegaConf.load(file)
    except FileNotFoundError:
        raise ConfigError(
            f"recipe `{file}` does not exist", "see those in the box: python -m core mode=list"
        ) from None
    except (YAMLError, OmegaConfBaseException, UnicodeDecodeError, OSError) as error:
        raise ConfigError(f"recipe `{name}` cannot be read", f"file: {file}", str(error)) from error
    if not isinstance(raw, DictConfig):
        raise ConfigError(f"recipe `{name}` is not a mapping of stages to plugins", f"file: {file}")
    content: dict[str, Any] = OmegaConf.to_container(raw)  # type: ignore[assignment]  # a mapping
    return content
