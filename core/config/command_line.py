"""Checks a command line before Hydra reads it: its flags, its size, its credentials.

Hydra's parser is recursive, and some of its flags load any folder or unpickle any file. A flag that
is not known here is refused, in one message.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from core.config.arguments import TYPED, key_of
from core.config.settings import Mode, Settings
from core.errors import ConfigError, did_you_mean
from core.machine.program import line
from core.text.shown import HIDDEN, holds_credentials

__all__ = ["check", "key_in", "refuse_credentials"]

#: The flags that are passed on to Hydra; argparse would accept abbreviations of them, too.
FLAGS = (
    "--cfg", "-c", "--help", "-h", "--hydra-help", "--info", "-i", "--json", "--multirun", "-m",
    "--package", "-p", "--recipe-schema", "--resolve", "--run", "-r", "--version",
)  # fmt: skip
#: The flags that take the next word, those of them that need it, and what some of them take.
VALUED = ("--cfg", "-c", "--package", "-p")
CFG = ("job", "hydra", "all")
INFO = ("all", "config", "defaults", "defaults-tree", "plugins", "searchpath")
TAKEN = {"--cfg": CFG, "-c": CFG, "--info": INFO, "-i": INFO, "--package": (), "-p": ()}
#: What other programs call a flag or a mode of ours; `core/config/words.py` answers with ours.
MEANT = {
    **{f"--{mode.name}": f"mode={mode.name}" for mode in Mode},
    **dict.fromkeys(("version", "-v", "-V", "-version"), "--version"),
    **dict.fromkeys(("help", "-help", "-?", "/?", "usage", "--usage"), "--help"),
    **dict.fromkeys(("--dry-run", "-n"), "mode=plan"),
    "--verbose": "hydra.verbose=true",
}
#: Short flags that other programs have for a key; two of them are also Hydra's, without a value.
SHORT = {"-i": "input", "-o": "output", "-r": "recipe"}
#: The first part of every key.
KEYS = frozenset({"recipe", "hydra", *Settings.__dataclass_fields__})
#: The flags that an error lists.
SHOWN = "--cfg job, --completion, --info, --multirun (-m), --resolve, --help, --version"
#: Hydra's flags that load a folder or a file unchecked, and what to use instead.
REFUSED = {
    "--config-dir": "a recipe is given by its path: recipe=FILE",
    "-cd": "a recipe is given by its path: recipe=FILE",
    "--config-path": "a recipe is given by its path: recipe=FILE",
    "-cp": "a recipe is given by its path: recipe=FILE",
    "--config-name": "a recipe is given by its name or its path: recipe=...",
    "-cn": "a recipe is given by its name or its path: recipe=...",
    "--experimental-rerun": "run it again from its lock file: recipe=.../recipe.lock.yaml",
}
#: The most characters of one word, and levels of brackets: far more than anybody types.
LONGEST, DEEPEST = 20_000, 40


def check(arguments: Sequence[str]) -> None:
    """Raise ConfigError for a word that Luthier does not pass on."""
    for index, word in enumerate(arguments):
        if word.startswith("-"):
            _check_flag(arguments, index)
        # `recipe = cpu_fp32` is read by core/config/words.py.
        if "=" in word and not key_of(word) and not (index and arguments[index - 1] in KEYS):
            raise ConfigError(f"`{word[:80]}` has no key", "write: key=value")
        key = word.partition("=")[0][:80]
        if len(word) > LONGEST:
            raise ConfigError(
                f"`{key}` is {len(word):,} characters long",
                f"a value on the command line may have {LONGEST:,}: put it into a recipe",
            )
        if _depth(word) > DEEPEST:
            raise ConfigError(
                f"`{key}` is nested more than {DEEPEST} deep", "write it with fewer brackets"
            )
        refuse_credentials({key_of(word): word.partition("=")[2]}, "the command line")
    _check_once(arguments)


def _check_once(arguments: Sequence[str]) -> None:
    """Refuse a key with two values: Hydra takes the last one, and says nothing."""
    given: dict[str, str] = {}
    for word in arguments:
        key = key_of(word) if "=" in word and not word.startswith("-") else ""
        first = given.setdefault(TYPED.get(key, key), word)
        if key and first.partition("=")[2] != word.partition("=")[2]:
            raise ConfigError(
                f"`{key[:80]}` is given twice: {first[:80]} and {word[:80]}",
                "a command takes each key once; to run several values: -m key=one,another",
            )


def refuse_credentials(content: Mapping[str, Any], said_by: str) -> None:
    """Raise ConfigError for a URL that holds a password or a token; the error does not show it.

    Options go into lock files, reports and logs, and the command line into the list of processes.
    """
    for key, text in _texts(content, ""):
        if holds_credentials(text) or holds_credentials(key):
            named = HIDDEN if holds_credentials(key) else key
            raise ConfigError(
                f"`{named}` holds a password or a token in a URL",
                f"in: {said_by}",
                "options appear in lock files and reports, and other users see them in the list of "
                "processes",
                "give the URL without it, and the credentials in the variables or the file that "
                "the service's own tools read",
            )


def key_in(word: str) -> str:
    """Return the key that a word begins with, `chunker.length` of `chunker.length=1`; or nothing.

    Only the first part is looked up: Hydra and the plugin know the rest.
    """
    key = word.partition("=")[0]
    return key if re.split(r"[./@]", key)[0] in KEYS else ""


def _check_flag(arguments: Sequence[str], index: int) -> None:
    """Refuse a flag that is not known, and a value that a known one does not take."""
    word = arguments[index]
    flag, equals, value = word.partition("=")
    if flag in FLAGS:
        follows = "".join(arguments[index + 1 : index + 2])
        _check_value(flag, value if equals else follows, given=bool(equals))
        return
    if word in MEANT or word in SHORT or key_in(flag.lstrip("-")):
        return  # core/config/words.py says what to type instead
    # Hydra would accept an abbreviation such as `--config-d`.
    whole = next((known for known in REFUSED if len(flag) > 3 and known.startswith(flag)), flag)  # noqa: PLR2004  # two dashes and a letter say nothing yet
    known = [one for one in FLAGS if len(one) > 2]  # noqa: PLR2004  # single letters are all alike
    near = difflib.get_close_matches(flag, known, n=1) if whole not in REFUSED else []
    meant = [*arguments[:index], *near, *arguments[index + 1 :]]
    raise ConfigError(
        f"there is no flag `{flag}`",
        REFUSED.get(whole, ""),
        f"did you mean `{near[0]}`?" if near else "",
        f"flags: {SHOWN}; everything else is written key=value",
        f"if it is a file, type: {line([f'input={word}'])}" if Path(word).exists() else "",
        f"type: {line(meant)}" if near else "",
    )


def _check_value(flag: str, value: str, *, given: bool) -> None:
    """Refuse a value that Hydra would answer with its own list of flags."""
    taken = TAKEN.get(flag)
    if taken is None and given:
        raise ConfigError(f"`{flag}` takes no value", f"type: {line([flag])}")
    if flag in VALUED and (not value or (taken and value not in taken)):
        raise ConfigError(
            f"`{flag}` cannot be `{value}`" if value else f"`{flag}` needs a value",
            did_you_mean(value, taken or ()),
            f"it can be: {', '.join(taken)}" if taken else "it takes a part of the config: chunker",
            f"type: {line(['recipe=NAME', flag, taken[0] if taken else 'chunker'])}",
        )
    if flag not in VALUED and given and value not in (taken or ()):
        raise ConfigError(f"`{flag}` cannot be `{value}`", f"it can be: {', '.join(taken or ())}")


def _depth(word: str) -> int:
    deepest = depth = 0
    for character in word:
        depth += (character in "[{(") - (character in ")}]")
        deepest = max(deepest, depth)
    return deepest


def _texts(node: Any, key: str) -> Iterator[tuple[str, str]]:
    """Yield every text of nested mappings and lists with its key."""
    if isinstance(node, Mapping):
        for name, inner in node.items():
            yield from _texts(inner, f"{key}.{name}" if key else str(name))
    elif isinstance(node, list | tuple):
        for inner in node:
            yield from _texts(inner, key)
    elif isinstance(node, str):
        yield key, node
