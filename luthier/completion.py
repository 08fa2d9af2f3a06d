"""What a TAB is answered with after `luthier separate`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from core.cli.completion.answer import NONE, Commands, candidates, paths
from luthier.separate_options import NOT_HERE, OPTIONS, SEPARATE
from luthier.sound_files import FORMATS

if TYPE_CHECKING:
    from core.cli.completion.vocabulary import Vocabulary

__all__ = ["COMMANDS"]

#: The stems of the model that plays unless a recipe is named.
STEMS = ("drums", "bass", "other", "vocals")


def _separate(words: Sequence[str], known: Vocabulary) -> tuple[str, list[tuple[str, str]]]:
    """Return what the last of `words` can become: an option, its value, a song, a word."""
    *before, word = words
    if "--" in before:
        return "files", [(path, "") for path in paths(word)]
    flag, equals, value = word.partition("=")
    if equals and flag in OPTIONS:
        kind, found = _values(flag, value, before)
        return kind, [(f"{flag}={one}", told) for one, told in found]
    if before and before[-1] in OPTIONS:
        return _values(before[-1], word, before)
    if word.startswith("-"):
        told = {**{one: told for one, (_, told) in OPTIONS.items()}, "--help": ""}
        return "words", [(one, text) for one, text in told.items() if one.startswith(word)]
    songs = [(path, "") for path in paths(word)]
    if not word or (songs and not equals):
        return "files", songs
    kind, found = candidates(words, known)
    return kind, [(one, told) for one, told in found if not _without_effect(one)]


def _without_effect(word: str) -> bool:
    key = word.partition("=")[0].rstrip(".")
    return key in NOT_HERE or key.partition(".")[0] in NOT_HERE


def _values(flag: str, value: str, before: Sequence[str]) -> tuple[str, list[tuple[str, str]]]:
    """Return what the value of an option can become."""
    if flag == "--out":
        return "files", [(path, "") for path in paths(value, NONE)]
    head = value[: value.rfind(",") + 1] if flag == "--stems" else ""
    one_of: tuple[str, ...] = STEMS
    if flag == "--format":
        one_of = tuple(FORMATS)
    elif any(word.startswith("recipe=") for word in before):
        one_of = ()
    chosen = head.split(",")
    return "words", [
        (head + one, "")
        for one in one_of
        if one.startswith(value[len(head) :]) and one not in chosen
    ]


COMMANDS: Commands = {SEPARATE: _separate}
