"""Rewrites the words of a command line for Hydra's grammar.

calibration=files           ->  dataset@calibration=files
host=null                   ->  ~runtime@host
input=a take (live).flac    ->  input='a take (live).flac'
recipe=path/to/mine.yaml    ->  recipe=mine, and the file is read
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from core.config.recipes import Recipe, name_of
from core.config.settings import PLURAL, SLOTS, check_once, group_of, literal, unescaped
from core.errors import ConfigError
from core.machine.program import line
from core.text.shown import without_credentials

__all__ = ["as_text", "command", "is_sweep", "key_of", "rewrite"]

#: The flags that ask for several runs.
SWEEP = ("-m", "--multirun")
#: The keys whose values name a choice, as a person writes them and as Hydra does.
GROUPS = frozenset({"recipe", "target", "precision", *SLOTS, *(group_of(slot) for slot in SLOTS)})
#: The key that a person types, by the group that Hydra chooses from.
TYPED = {group_of(slot): slot for slot in SLOTS}
#: The keys whose values are paths, which may hold any character.
PATHS = ("input", "output", "store", "diff.old", "diff.new")
#: A path that Hydra is given as it is: quoted already, or none.
_GIVEN = re.compile(r"""(['"]).*\1|null""", re.DOTALL)
#: One of several values, and the comma after it.
_VALUE = re.compile(r"""('[^']*'|"[^"]*"|[^,]*)(,|\Z)""")


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


def as_text(word: str) -> str:
    """Return an override with its value in quotes: Hydra takes it as it is, whatever it holds."""
    key, _, value = word.partition("=")
    # Single quotes would have to be escaped for the shell.
    mark = "'" if '"' in value else '"'
    return f"{key}={_quoted(value, mark)}"


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
    if key in PATHS and not _GIVEN.fullmatch(value):
        if not value:
            raise ConfigError(f"`{key}` is empty", f"give a path: {key}=...", "or leave it out")
        return f"{key}={','.join(_quoted_once(v) for v in _several(value, sweep=sweep))}"
    return argument


def _several(value: str, *, sweep: bool) -> list[str]:
    """Return the values of a sweep; a comma in quotes, or in the name of a file, parts nothing."""
    if not sweep or os.path.exists(os.path.expanduser(value)):  # noqa: PTH110, PTH111  # a Path raises for long ones
        return [value]
    values, start = [], 0
    while True:
        found = _VALUE.match(value, start)
        assert found is not None, "it matches the empty text"
        values.append(found[1])
        start = found.end()
        if not found[2]:
            return values


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
    inside = re.sub(r"(\\+)\Z", lambda m: m[1][: len(m[1]) // 2], value[1:-1])
    inside = re.sub(r"(\\+)'", lambda m: m[1][: len(m[1]) // 2] + "'", inside)
    bare = unescaped(inside)
    return bare if bare is not None and value == _quoted(bare) else value


def _quoted_once(value: str) -> str:
    return value if _GIVEN.fullmatch(value) else _quoted(value)


def _quoted(value: str, mark: str = "'") -> str:
    """Quote a value: inside quotes, only a quote and backslashes before one are special."""
    escaped = re.sub(rf"(\\*){mark}", lambda m: f"{m[1] * 2}\\{mark}", literal(value))
    escaped = re.sub(r"(\\+)\Z", lambda m: m[1] * 2, escaped)
    return f"{mark}{escaped}{mark}"
