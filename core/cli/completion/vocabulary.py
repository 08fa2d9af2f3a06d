"""All that can be completed: names, options and their values."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from core.text.shown import shown

__all__ = ["Choices", "Vocabulary", "titles"]


class Choices(msgspec.Struct, frozen=True):
    """What an option can be: some values, and whether a file can be named, too."""

    values: tuple[str, ...] = ()
    files: bool = False


class Vocabulary(msgspec.Struct, frozen=True):
    """All that a command can say.

    `names` are those that a key takes, each with its title. `options` are those of each plugin, by
    kind and name, and of the keys that are no slot, under `""`. `plugins` leads from a preset, by
    kind and name, to its plugin. `chosen` has the names that a recipe or a target chooses for
    slots. `stamp` is a hash of all that `watched` names.
    """

    stamp: str
    watched: tuple[str, ...]
    slots: dict[str, str]
    plural: tuple[str, ...]
    keys: dict[str, Choices]
    names: dict[str, dict[str, str]]
    options: dict[str, dict[str, dict[str, Choices]]]
    plugins: dict[str, dict[str, str]]
    chosen: dict[str, dict[str, dict[str, str]]]


def titles(named: Mapping[str, str]) -> dict[str, str]:
    """Return names with their titles, each on one line and safe to show."""
    return {name: " ".join(shown(title).split())[:100] for name, title in named.items()}
