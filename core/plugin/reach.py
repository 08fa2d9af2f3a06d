"""What a plugin touches outside the run: files and folders it reads or writes, hosts it asks.

An option that names one is declared with `reaching`, so that a plan can show it before anything
runs, and so that a recipe from a stranger cannot set it unnoticed:

    path: str = reaching()
    weights: str = reaching("pretrained", words=("pretrained",))
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from glob import has_magic
from pathlib import Path
from typing import Any, Literal
from urllib.parse import unquote, urlsplit

__all__ = [
    "Reach",
    "is_address",
    "is_reaching",
    "names_something",
    "reaching",
    "reaching_options",
    "words_of",
]

_MARK, _WORDS, _ADDRESS = "luthier.reaching", "luthier.words", "luthier.address"


@dataclasses.dataclass(frozen=True)
class Reach:
    """A file, folder or host (`where`), `how` it is used, and `why`: what asks for it."""

    how: Literal["reads", "writes", "asks"]
    where: str
    why: str = ""


def reaching(
    default: Any = dataclasses.MISSING, words: Sequence[str] = (), *, address: bool = False
) -> Any:
    """Return the field of an option that names a file, a folder, a pattern or a URL.

    A recipe that is given by its path may set it to files in the recipe's own folder; for any
    other value the person who starts the run is asked. `words` are values that have another meaning
    for the plugin, whatever lies in the folder. An `address` has a library's own form: the person
    is always asked. The type is Any, as that of `dataclasses.field`.
    """
    marks = {_MARK: True, _WORDS: tuple(words), _ADDRESS: address}
    return dataclasses.field(default=default, metadata=marks)


def is_reaching(option: dataclasses.Field[Any]) -> bool:
    """Return whether an option was declared with `reaching`."""
    return bool(option.metadata.get(_MARK))


def words_of(option: dataclasses.Field[Any]) -> Sequence[str]:
    """Return the values of an option that name no file, folder or host."""
    words: Sequence[str] = option.metadata.get(_WORDS, ())
    return words


def is_address(option: dataclasses.Field[Any]) -> bool:
    """Return whether an option holds an address, whose form only a library knows."""
    return bool(option.metadata.get(_ADDRESS))


def names_something(text: str) -> bool:
    """Return whether a text is a path or a pattern; a single word is one if such a file exists."""
    if not text:  # to `Path` the working folder
        return False
    return "/" in text or "\\" in text or has_magic(text) or Path(text).expanduser().exists()


def reaching_options(options: Any) -> Iterator[Reach]:
    """Yield what the declared options of a plugin name: a host for a URL, else a file or folder.

    A single word that is no file here has another meaning (for example `pretrained`).
    """
    for option in dataclasses.fields(options):
        value = getattr(options, option.name)
        for text in value if isinstance(value, list | tuple) else [value]:
            if (
                is_reaching(option)
                and isinstance(text, str)
                and text not in ("", *words_of(option))
            ):
                yield from _reaches(text, option.name)


def _reaches(text: str, why: str) -> Iterator[Reach]:
    protocol, separator, rest = text.partition("://")
    host = urlsplit(text).netloc if separator else ""
    if host:
        yield Reach("asks", host.rpartition("@")[2], why)
    elif separator:
        # The path follows `sqlite:///`, but in `file:///path` it begins with the third slash.
        sqlite = protocol.startswith("sqlite")
        path = unquote(rest[1:].partition("?")[0]) if sqlite else rest
        yield Reach("writes", str(Path(path).absolute()), why)
    elif names_something(text):
        # The file that a link leads to, not the link.
        yield Reach("reads", str(Path(text).expanduser().resolve()), why)
