"""Checks a command line before Hydra reads it: its flags, its size, its credentials.

Hydra's parser is recursive, and some of its flags load any folder or unpickle any file. A flag that
is not known here is refused, in one message.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from core.config.arguments import key_of
from core.errors import ConfigError, did_you_mean
from core.text.shown import HIDDEN, holds_credentials

__all__ = ["check", "refuse_credentials"]

#: The flags that are passed on to Hydra; argparse would accept abbreviations of them, too.
FLAGS = (
    "--cfg", "-c", "--help", "-h", "--hydra-help", "--info", "-i", "--multirun", "-m",
    "--package", "-p", "--resolve", "--run", "-r", "--version",
)  # fmt: skip
#: The flags that an error lists.
SHOWN = "--cfg job, --info, --multirun (-m), --resolve, --help, --version"
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
    for word in arguments:
        if word.startswith("-"):
            _check_flag(word.partition("=")[0])
        if "=" in word and not key_of(word):
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


def _check_flag(flag: str) -> None:
    if flag in FLAGS:
        return
    # Hydra would accept an abbreviation such as `--config-d`.
    whole = next((known for known in REFUSED if len(flag) > 3 and known.startswith(flag)), flag)  # noqa: PLR2004  # two dashes and a letter say nothing yet
    raise ConfigError(
        f"there is no flag `{flag}`",
        REFUSED.get(whole, ""),
        did_you_mean(flag, FLAGS) if whole not in REFUSED else "",
        f"flags: {SHOWN}; everything else is written key=value",
    )


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
