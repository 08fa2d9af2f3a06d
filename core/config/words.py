"""Reads words that are no `key=value`, and answers with the whole command to type.

song.mp3              ->  input=song.mp3, where there is such a file
cpu_fp32              ->  recipe=cpu_fp32
s24, htdemucs, plan   ->  target=s24, model=htdemucs, mode=plan
recipe cpu_fp32       ->  recipe=cpu_fp32; also `recipe: cpu_fp32`, `--recipe cpu_fp32`
-v, version, help     ->  --version, --help

None of it is run: a command may take an hour, and its words decide what it measures.
"""

from __future__ import annotations

import difflib
import functools
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from core.config.arguments import key_of
from core.config.command_line import FLAGS, INFO, MEANT, SHORT, VALUED, key_in
from core.config.presets import read_presets
from core.config.recipes import Recipe, read_recipes
from core.config.settings import SLOTS, Mode
from core.errors import ConfigError
from core.machine.path_patterns import is_pattern
from core.machine.program import line, quoted
from core.plugin.registry import Registry

__all__ = ["check_words", "meanings", "names"]

#: The recipe that is offered to one who names none: it runs on any machine.
FIRST = "cpu_fp32"
#: The words of a command that needs no recipe.
WITHOUT_RECIPE = frozenset({"mode=list", "mode=doctor", "mode=diff", "--help", "--version"})
#: The commands of the package that stands above the core.
OF_LUTHIER = ("separate",)
#: How alike a name must be to be offered for a word that is none.
CUTOFF = 0.7

#: The names that each key can be given.
Names = Mapping[str, Sequence[str]]


@dataclass(frozen=True)
class _Reading:
    """One word as typed, or several that belong together, with all that they can mean.

    `why` says why it means that; empty for a word that is not known, whose `meant` is a guess.
    """

    typed: str
    meant: tuple[str, ...]
    why: str = ""


def names(registry: Registry, recipes: Mapping[str, Recipe], conf: Path) -> dict[str, list[str]]:
    """Return the names that each key can be given; they are of recipes, modes, plugins, presets."""
    presets: dict[str, list[str]] = {}
    for preset in read_presets([conf, *registry.presets]):
        presets.setdefault(preset.group, []).append(preset.name)
    slots = {slot: [*registry.names(kind), *presets.get(kind, ())] for slot, kind in SLOTS.items()}
    return {
        "recipe": list(recipes),
        "mode": [mode.name for mode in Mode],
        "target": presets.get("target", []),
        "precision": presets.get("precision", []),
        **slots,
    }


def meanings(name: str, known: Names) -> tuple[str, ...]:
    """Return every option that takes a name: `("target=s24",)` for `s24`."""
    return tuple(f"{key}={name}" for key, values in known.items() if name in values)


def check_words(arguments: Sequence[str], registry: Registry, conf: Path) -> None:
    """Raise ConfigError for words that are neither a flag nor `key=value`, or for none at all."""
    if not arguments:
        raise _nothing_asked()
    if arguments[0] in OF_LUTHIER:
        raise ConfigError(
            f"`{arguments[0]}` is a command of `luthier`, not of `python -m core`",
            f"type: python -m luthier {quoted(arguments)}",
        )
    # Reading every recipe and preset takes 0.2 s, which only a wrong word is worth.
    recipes = functools.cache(lambda: read_recipes(registry.recipes))
    known = functools.cache(lambda: names(registry, recipes(), conf))
    readings = list(_readings(arguments, known))
    wrong = [one for one in readings if one.meant != (one.typed,)]
    if not wrong:
        return
    files = [one.typed for one in wrong if one.why == "a file"]
    if len(files) > 1:
        raise _several_files(files)
    words = [one.meant[0] for one in readings if one.meant]
    raise ConfigError(
        _what(wrong),
        *(said for one in wrong for said in _said(one)),
        f"see every name: {line(['mode=list'])}" if not all(one.why for one in wrong) else "",
        f"type: {line(_with_recipe(words, recipes()))}" if len(words) == len(readings) else "",
    )


def _nothing_asked() -> ConfigError:
    return ConfigError(
        "nothing is asked for",
        f"play a file: {line([f'recipe={FIRST}', 'input=song.flac'])}",
        f"see what that would run: {line([f'recipe={FIRST}', 'mode=plan'])}",
        f"see every recipe, target and plugin: {line(['mode=list'])}",
        f"see what works on this machine: {line(['mode=doctor'])}",
        f"see more examples: {line(['--help'])}",
    )


def _readings(arguments: Sequence[str], known: Callable[[], Names]) -> Iterator[_Reading]:
    rest = deque(arguments)
    while rest:
        word = rest.popleft()
        key, follows = _key_alone(word), rest[0] if rest else ""
        alone = bool(follows) and not follows.startswith(("-", "~")) and "=" not in follows
        if key and follows.startswith("="):  # `recipe = cpu_fp32`, `recipe =cpu_fp32`
            typed, value = [word, rest.popleft()], follows[1:]
            if not value and rest:
                typed.append(value := rest.popleft())
            yield _Reading(" ".join(typed), (f"{key}={value}",), "written in one word")
        elif key and alone:
            rest.popleft()
            yield _Reading(f"{word} {follows}", (f"{key}={follows}",), "written in one word")
        elif word in SHORT and alone and follows not in INFO:
            rest.popleft()
            yield _Reading(f"{word} {follows}", (f"{SHORT[word]}={follows}",), "written as a key")
        elif word in VALUED or (word in ("--info", "-i") and follows in INFO):
            yield _Reading(word, (word,))
            if rest:
                yield _Reading(follows, (rest.popleft(),))
        elif _is_written(word):
            yield _Reading(word, (word,))
        else:
            yield _alone(word, known())


def _key_alone(word: str) -> str:
    """Return the key in `recipe`, `recipe:`, `recipe=` and `--recipe`; empty for another word."""
    bare = word.lstrip("-").removesuffix("=").removesuffix(":")
    known = word not in FLAGS and "=" not in bare and bare == key_in(bare)
    return bare if known else ""


def _is_written(word: str) -> bool:
    """Return whether a word is a flag, or a key that the config has with its value."""
    if word.startswith("-"):
        return word.partition("=")[0] in FLAGS
    return word.startswith("~") or ("=" in word and bool(key_in(key_of(word))))


def _alone(word: str, known: Names) -> _Reading:
    """Read a word that stands by itself: a name, a file, or nothing that is known."""
    bare, path = word.lstrip("-"), Path(word).expanduser()
    key, colon, value = bare.partition(":")
    if word in MEANT:
        return _Reading(word, (MEANT[word],), "written")
    if key_in(bare) and "=" in bare:
        return _Reading(word, (bare,), "written without dashes")
    if colon and value and key == key_in(key):
        return _Reading(word, (f"{key}={value}",), "written with =")
    if bare.removesuffix(":") == key_in(bare.removesuffix(":")):
        return _Reading(word, (), "a key without a value")
    if found := meanings(word, known):
        kinds = dict.fromkeys(SLOTS.get(key, key) for key in (key_of(one) for one in found))
        return _Reading(word, found, f"the name of a {' and of a '.join(kinds)}")
    if path.is_file() and path.suffix.lower() in (".yaml", ".yml"):
        return _Reading(word, (f"recipe={word}",), "a YAML file")
    if path.exists():
        return _Reading(word, (f"input={word}",), "a folder" if path.is_dir() else "a file")
    if "=" in word:
        return _Reading(word, (word,))  # Hydra looks for the nearest key
    if is_pattern(word):
        return _Reading(word, (f"input={word}",), "a pattern of files")
    return _Reading(word, _near(word, known))


def _near(word: str, known: Names) -> tuple[str, ...]:
    """Return what a mistyped word can mean: names that are known, flags, files beside it."""
    every = {name: meanings(name, known)[:1] for values in known.values() for name in values}
    every |= {name: (MEANT[name],) for name in ("help", "version")}
    folder = Path(word).expanduser().parent
    try:
        beside = sorted(one for one in folder.iterdir() if one.is_file())
    except OSError:
        beside = []
    for file in beside:
        key = "recipe" if file.suffix.lower() in (".yaml", ".yml") else "input"
        every.setdefault(file.name, (f"{key}={Path(word).parent / file.name}",))
    close = difflib.get_close_matches(Path(word).name, every, n=2, cutoff=CUTOFF)
    return tuple(meant for name in close for meant in every[name])


def _what(wrong: Sequence[_Reading]) -> str:
    typed = ", ".join(f"`{one.typed[:80]}`" for one in wrong)
    flag = wrong[0].typed.split()[0].partition("=")[0]
    if len(wrong) == 1 and flag.startswith("-") and flag not in FLAGS:
        return f"there is no flag `{flag}`"
    if len(wrong) == 1 and not wrong[0].meant and wrong[0].why:
        return f"{typed} has no value"
    return f"{typed} {'is' if len(wrong) == 1 else 'are'} not written key=value"


def _said(one: _Reading) -> Iterator[str]:
    """Yield what a word is, and what it can mean."""
    typed = f"`{one.typed[:80]}`"
    if one.why.startswith("written"):
        yield f"{typed} is {one.why}: {one.meant[0]}"
    elif one.why and one.meant:
        yield f"{typed} is {one.why}: {' or '.join(one.meant)}"
    elif one.why:
        key = one.typed.strip("-:")
        yield f"{typed} is {one.why}: {key}=..."
    else:
        yield f"no recipe, target, precision, mode, plugin or file is named {typed}"
        if one.meant:
            yield f"did you mean {' or '.join(f'`{meant}`' for meant in one.meant)}?"


def _several_files(files: Sequence[str]) -> ConfigError:
    """Return the error for several files: a shell puts them in the place of a bare pattern."""
    endings, folders = {Path(one).suffix for one in files}, {Path(one).parent for one in files}
    same = len(endings) == len(folders) == 1
    pattern = str(folders.pop() / f"*{endings.pop()}") if same else "folder/**/*.flac"
    return ConfigError(
        f"{len(files)} files are named, and `input` takes one",
        "a pattern is one input, in quotes, so that the shell leaves it as it is",
        f"type: {line([f'recipe={FIRST}', f'input={pattern}'])}",
    )


def _with_recipe(words: Sequence[str], recipes: Mapping[str, Recipe]) -> list[str]:
    """Return the words with a recipe, if they need one: the one that says most of them itself."""
    said = set(words)
    if said & WITHOUT_RECIPE or not recipes or any(key_of(word) == "recipe" for word in words):
        return list(words)

    def agrees(recipe: Recipe) -> tuple[int, bool]:
        choices = (f"{key}={value}" for key, value in recipe.content.items())
        return len(said.intersection(choices)), recipe.name == FIRST

    chosen = max(recipes.values(), key=agrees)
    # Hydra's parser rejects overrides on both sides of a flag.
    first = next((i for i, word in enumerate(words) if "=" in word), len(words))
    return [*words[:first], f"recipe={chosen.name}", *words[first:]]
