"""Rewrites the words of a command line for Hydra's grammar.

calibration=files           ->  dataset@calibration=files
host=null                   ->  ~runtime@host
input=a take (live).flac    ->  input='a take (live).flac'
recipe=path/to/mine.yaml    ->  recipe=mine, and the file is read
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from core.config.recipes import Recipe, name_of
from core.config.settings import PLURAL, SLOTS, check_once, group_of
from core.errors import ConfigError
from core.machine.program import line
from core.text.shown import without_credentials

__all__ = ["command", "is_sweep", "key_of", "rewrite"]

#: The flags that ask for several runs.
SWEEP = ("-m", "--multirun")
#: The keys whose values name a choice, as a person writes them and as Hydra does.
GROUPS = frozenset({"recipe", "target", "precision", *SLOTS, *(group_of(slot) for slot in SLOTS)})
#: The key that a person types, by the group that Hydra chooses from.
TYPED = {group_of(slot): slot for slot in SLOTS}
#: The keys whose values are paths, which may hold any character.
PATHS = ("input", "output", "store", "diff.old", "diff.new")


def is_sweep(arguments: Sequence[str]) -> bool:
    """Return whether the command asks for several runs."""
    return any(flag in arguments for flag in SWEEP)


def key_of(word: str) -> str:
    """Return the key of an override, without the mark that adds or deletes it."""
    return word.partition("=")[0].lstrip("+~")


def rewrite(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the arguments for Hydra, and the recipe files that they name by path."""
    sweep, files = is_sweep(arguments), list[str]()
    # Hydra's parser rejects overrides on both sides of a flag.
    ordered = sorted(arguments, key=lambda argument: argument not in SWEEP)
    return [_rewritten(argument, files, sweep=sweep) for argument in ordered], files


def command(overrides: Sequence[str], recipes: Mapping[str, Recipe]) -> str:
    """Return a line that a person can type again, for the overrides that Hydra composed from."""
    words = list(overrides)
    for index, word in enumerate(words):
        key, _, name = word.partition("=")
        if key.lstrip("~") in TYPED:
            typed = TYPED[key.lstrip("~")]
            words[index] = f"{typed}=null" if key.startswith("~") else f"{typed}={name}"
        if key == "recipe" and name in recipes and recipes[name].given:
            words[index] = f"recipe={recipes[name].file}"
        elif key in PATHS:
            words[index] = f"{key}={_bare(name)}"
    return without_credentials(line(words))


def _rewritten(argument: str, files: list[str], *, sweep: bool) -> str:
    key, equals, value = argument.partition("=")
    if not equals:
        return argument
    if key == "recipe":
        if value in ("", "null"):
            raise ConfigError("`recipe` is empty", "give one: recipe=<name>, or leave it out")
        return f"recipe={','.join(_recipes(_several(value, sweep=sweep), files))}"
    _check_chosen(key.lstrip("+/"), value)
    if key in PLURAL and not sweep:
        check_once(key, [name.strip() for name in value.strip("[]").split(",")])
    if key in SLOTS:
        # Hydra deletes a choice with `~`; `=null` ends in a raw ValueError.
        return f"~{group_of(key)}" if value == "null" else f"{group_of(key)}={value}"
    if key in PATHS and not re.fullmatch(r"""(['"]).*\1|null""", value):
        if not value:
            raise ConfigError(f"`{key}` is empty", f"give a path: {key}=...", "or leave it out")
        return f"{key}={','.join(_quoted(v) for v in _several(value, sweep=sweep))}"
    return argument


def _several(value: str, *, sweep: bool) -> list[str]:
    """Return the values of a sweep; a single run takes a comma as part of the name."""
    return value.split(",") if sweep else [value]


def _check_chosen(key: str, value: str) -> None:
    """Refuse a path where a choice is named: Hydra would read any file as a choice of the box.

    Refuse a reference, too: the error for an unknown name would show the value behind it.
    """
    if key in GROUPS and any(mark in value for mark in ("/", "\\", "..", "${")):
        raise ConfigError(
            f"`{key}` cannot be `{value}`",
            "a choice is a name, not a path or a reference",
            f"see them all: {line(['mode=list'])}",
        )


def _recipes(values: Sequence[str], files: list[str]) -> list[str]:
    """Return the names of recipes; those that are given as files are added to `files`."""
    names = [_recipe(value, files) for value in values]
    for name in names:
        if names.count(name) > 1:
            raise ConfigError(
                f"two of the recipes are named `{name}`",
                f"at: recipe={','.join(values)}",
                "a recipe is named after its file: give each once, or rename one",
            )
    return names


def _recipe(value: str, files: list[str]) -> str:
    bare = value.strip("'\"")
    file = Path(bare).expanduser()
    if not bare.lower().endswith((".yaml", ".yml")) and not file.is_file():
        _check_chosen("recipe", value)
        return value
    files.append(str(file))
    return name_of(file)


def _bare(value: str) -> str:
    """Return the value that `_quoted` quoted; return anything else unchanged."""
    bare = value[1:-1].replace("\\'", "'").replace("\\${", "${").replace("\\\\", "\\")
    return bare if value == _quoted(bare) else value


def _quoted(value: str) -> str:
    """Quote a value: inside quotes, only a quote and backslashes before one are special."""
    escaped = re.sub(r"(\\*)'", lambda m: m[1] * 2 + "\\'", value)
    escaped = re.sub(r"(\\+)$", lambda m: m[1] * 2, escaped)
    return "'" + escaped.replace("${", "\\${") + "'"
