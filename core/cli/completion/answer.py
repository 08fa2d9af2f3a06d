"""What a TAB is answered with: the words that can stand where the cursor is.

`--complete SHELL ...` is what the scripts of the shells call. The first line of the answer tells
what the rest is, `files` or `words`; then each line has a word, and after a tab its title. No shell
evaluates any of it, and it holds only plain names and files of the folder that was typed.
"""

from __future__ import annotations

import os
import re
import shlex
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NoReturn

from core.cli.completion.cache import vocabulary
from core.cli.completion.vocabulary import Choices, Vocabulary

__all__ = ["NONE", "Commands", "answer", "candidates", "complete", "paths", "words_of"]

#: What completes the words after a command of its own, by its name: as `candidates` does.
Commands = Mapping[str, Callable[[Sequence[str], Vocabulary], tuple[str, list[tuple[str, str]]]]]

#: A word that is offered, if it is no file: nothing in it means anything to a shell.
_PLAIN = re.compile(r"[\w.=,@:~+-]+")
FLAGS = ("--cfg", "--completion", "--help", "--info", "--json", "--multirun", "--recipe-schema",
         "--resolve", "--version")  # fmt: skip
#: The words that follow a flag.
AFTER = {
    "--cfg": ("job", "hydra", "all"),
    "-c": ("job", "hydra", "all"),
    "--completion": ("bash", "zsh", "fish"),
    "--info": ("all", "config", "defaults", "defaults-tree", "plugins", "searchpath"),
}
_PYTHON = re.compile(r"python[\d.]*(\.exe)?")
_LUTHIER = re.compile(r"luthier(\.exe)?")
YAML = (".yaml", ".yml")
#: The endings where only folders are meant: no name ends so.
NONE = ("/",)


def complete(arguments: Sequence[str], commands: Commands | None = None) -> NoReturn:
    """Answer a TAB, and exit; whatever fails, the line that is being typed is left as it is."""
    try:
        answer(arguments, commands or {})
    except Exception:
        sys.exit(1)
    sys.exit(0)


def answer(arguments: Sequence[str], commands: Commands) -> None:
    """Print what the last word of a command can become.

    bash gives its separators of words and the line up to the cursor; others give the words.
    """
    shell, *words = arguments
    breaks = ""
    if shell == "bash":
        breaks, line = words
        words = words_of(line)
    first, *rest = words
    if rest and first in commands:
        kind, found = commands[first](rest, vocabulary())
    else:
        kind, found = candidates(words, vocabulary())
        if not rest:
            found = [*((name, "") for name in commands if name.startswith(first)), *found]
    # bash replaces only what follows the last separator.
    cut = max((words[-1].rfind(mark) + 1 for mark in "=:" if mark in breaks), default=0)
    lines = [kind, *(f"{word[cut:]}\t{title}" if title else word[cut:] for word, title in found)]
    sys.stdout.write("\n".join(lines) + "\n")


def words_of(line: str) -> list[str]:
    """Return the arguments in a line of bash up to the cursor; the last is being typed."""
    whole = line[:-1] if re.search(r"(?<!\\)(?:\\\\)*\\$", line) else line
    for ending in ("", "'", '"'):
        try:
            words = shlex.split(whole + ending)
            break
        except ValueError:
            continue
    else:
        return [""]
    if not ending and line[-1:].isspace():
        words.append("")
    for index, word in enumerate(words):
        if _LUTHIER.fullmatch(Path(word).name):
            return words[index + 1 :] or [""]
        if _PYTHON.fullmatch(Path(word).name) and words[index + 1 : index + 2] == ["-m"]:
            return words[index + 3 :] or [""]
    return [""]


def candidates(words: Sequence[str], known: Vocabulary) -> tuple[str, list[tuple[str, str]]]:
    """Return `files` or `words`, and what the last of `words` can become, each with a title."""
    *before, word = words
    last = before[-1] if before else ""
    if last in AFTER:
        return "words", _plain((one, "") for one in AFTER[last] if one.startswith(word))
    if word.startswith("-"):
        return "words", [(flag, "") for flag in FLAGS if flag.startswith(word)]
    key, equals, value = word.partition("=")
    if not equals:
        return "words", _plain(_keys(word, before, known))
    # Of several values, the last is being typed; the name of one file may hold a comma.
    several = key in known.names or "-m" in before or "--multirun" in before
    head = value[: max(value.rfind(","), value.rfind("[")) + 1] if several else ""
    begun, begins = value[len(head) :], f"{key}={head}"
    named = known.names.get(key)
    choices = (
        _option(key, before, known) if named is None else Choices(tuple(named), key == "recipe")
    )
    found = _plain((one, (named or {}).get(one, "")) for one in choices.values)
    found = [(begins + one, title) for one, title in found if one.startswith(begun)]
    if not choices.files:
        return "words", found
    endings = YAML if key == "recipe" else ()
    return "files", found + [(begins + one, "") for one in paths(begun, endings)]


def _plain(found: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    return [one for one in found if _PLAIN.fullmatch(one[0])]


def _keys(word: str, before: Sequence[str], known: Vocabulary) -> Iterator[tuple[str, str]]:
    """Yield the keys that begin with `word`: of the config, or of the options below one."""
    parent, dot, _ = word.rpartition(".")
    if not dot:
        for key in (*known.keys, *known.slots):
            if key.startswith(word):
                yield f"{key}=", ""
                # Options double the list, so that they come with the first letter.
                if word and (key in known.slots or key in known.options[""]):
                    yield f"{key}.", ""
        return
    for option, choices in _below(parent, before, known).items():
        path = f"{parent}.{option}"
        if path.startswith(word):
            yield (f"{path}=", "") if choices is not None else (f"{path}.", "")


def _below(parent: str, before: Sequence[str], known: Vocabulary) -> Mapping[str, Choices | None]:
    """Return the options below a key; None stands for one with options of its own."""
    slot, _, plugin = parent.partition(".")
    if slot not in known.slots:
        return known.options[""].get(parent, {})
    of_kind = known.options.get(known.slots[slot], {})
    if slot in known.plural:
        return of_kind.get(plugin, {}) if plugin else dict.fromkeys(of_kind)
    if plugin:
        return {}
    chosen = _chosen(slot, before, known)
    if chosen in of_kind:
        return of_kind[chosen]
    return {option: one for options in of_kind.values() for option, one in options.items()}


def _option(key: str, before: Sequence[str], known: Vocabulary) -> Choices:
    """Return what the option at `key` can be."""
    if key in known.keys:
        return known.keys[key]
    parent, _, option = key.rpartition(".")
    return _below(parent, before, known).get(option) or Choices()


def _chosen(slot: str, before: Sequence[str], known: Vocabulary) -> str:
    """Return the plugin of a slot: as typed, or as the recipe, its target or precision choose."""
    typed = dict(word.split("=", 1) for word in before if "=" in word)
    recipe = known.chosen["recipe"].get(typed.get("recipe", ""), {})
    said = {**recipe, **typed}
    target = known.chosen["target"].get(said.get("target", ""), {})
    name = said.get(slot) or target.get(slot, "")
    if not name and slot == "quantizer":
        name = said.get("precision", "fp32")
    return known.plugins.get(known.slots[slot], {}).get(name, name)


def paths(begun: str, endings: tuple[str, ...] = ()) -> list[str]:
    """Return the files and folders that a path can become; those of `endings` alone, if any."""
    folder, name = os.path.split(begun)
    try:
        found = sorted(os.scandir(Path(folder or ".").expanduser()), key=lambda one: one.name)
    except OSError:
        return []
    paths = []
    for one in found:
        if not one.name.startswith(name) or (one.name[0] == "." and not name.startswith(".")):
            continue
        # A name with a line break or an escape sequence would be several, or do things.
        if not one.name.isprintable():
            continue
        if one.is_dir():
            paths.append(os.path.join(folder, one.name, ""))  # noqa: PTH118  # as it is typed
        elif not endings or one.name.lower().endswith(endings):
            paths.append(os.path.join(folder, one.name))  # noqa: PTH118  # as it is typed
    return paths
