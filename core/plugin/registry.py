"""Holds the plugins that `core/config/discovery.py` finds, and looks them up by kind and name.

A plugin that cannot be loaded stops no other: it is listed as broken, and only a recipe that names
it fails.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

import pluggy

from core.errors import (
    ConfigError,
    LuthierError,
    PluginError,
    did_you_mean,
)
from core.plugin.boundary import called
from core.plugin.broken import Broken, in_one_line
from core.plugin.entry import Entry
from core.plugin.kinds import KINDS, Plugin
from core.plugin.plugin_class import checked

if TYPE_CHECKING:
    from omegaconf import DictConfig

__all__ = ["Registry"]

KindT = TypeVar("KindT", bound=Plugin[Any])


class Registry:
    """The mapping kind → name → plugin class, and the folders with presets and recipes.

    `broken` lists what was found and cannot be used.
    """

    def __init__(self, manager: pluggy.PluginManager) -> None:
        self.manager = manager
        self.entries: dict[str, dict[str, Entry]] = {kind: {} for kind in KINDS}
        self.presets: list[Path] = []
        self.recipes: list[Path] = []
        self.broken: list[Broken] = []

    def __iter__(self) -> Iterator[Entry]:
        for entries in self.entries.values():
            yield from sorted(entries.values(), key=lambda entry: entry.name)

    def classes(self, kind: type[KindT]) -> dict[str, type[KindT]]:
        """Return the plugin classes of `kind` by their names, in order of name."""
        entries = self.entries[kind.kind]
        return {name: cast("type[KindT]", entries[name].cls) for name in sorted(entries)}

    def names(self, kind: str) -> list[str]:
        """Return the names of every plugin of `kind`, sorted."""
        return sorted(self.entries[kind])

    def find(self, kind: str, name: str) -> Entry:
        """Return the plugin; raises ConfigError with the nearest name and the whole list.

        Raises PluginError for one that is there and broken.
        """
        try:
            return self.entries[kind][name]
        except KeyError:
            raise self.absent(kind, name) or ConfigError(
                f"no {kind} is named `{name}`",
                did_you_mean(name, self.names(kind)),
                f"{kind} plugins: {', '.join(self.names(kind))}",
                *self.doubts(),
            ) from None

    def absent(self, kind: str, name: str) -> PluginError | None:
        """Return the error for a plugin that was found broken; None if it was not found."""
        found = (one for one in self.broken if (one.kind, one.name) == (kind, name))
        return next((one.error() for one in found), None)

    def doubts(self) -> tuple[str, ...]:
        """Return a line for each broken distribution: a missing plugin may be one of its own."""
        return tuple(f"{one}: the plugin may be part of it" for one in self.broken if not one.ours)

    def add(self, cls: type[Plugin[Any]], distribution: str) -> None:
        """Add a class after checking that it keeps the contract of its kind.

        Raises PluginError. If two plugins have one name, neither can be used from then on.
        """
        entry = Entry(*checked(cls, distribution))
        known = self.entries[entry.kind].get(entry.name)
        if known is not None:
            del self.entries[entry.kind][entry.name]
            clash = _clash(known, entry)
            self.broken += [_of(known, clash), _of(entry, clash)]
            return
        first = next((o for o in self.broken if (o.kind, o.name) == (entry.kind, entry.name)), None)
        if first is not None:
            self.broken.append(_of(entry, first.why))
            return
        self.entries[entry.kind][entry.name] = entry

    def schemas(self) -> Iterator[tuple[Entry, DictConfig]]:
        """Yield every plugin with the node of its options; record one without a node as broken."""
        from core.plugin.options import schema

        for entry in list(self):
            try:
                node = called(entry.origin, "Options", schema, entry)
            except LuthierError as error:
                del self.entries[entry.kind][entry.name]
                self.broken.append(_of(entry, in_one_line(error)))
            else:
                yield entry, node


def _clash(one: Entry, other: Entry) -> str:
    return (
        f"two {one.kind} plugins are named `{one.name}`: "
        f"from {one.distribution}, {one.file}, and from {other.distribution}, {other.file}; "
        "uninstall one of the two distributions, or rename its plugin"
    )


def _of(entry: Entry, why: str) -> Broken:
    return Broken(why, entry.file, entry.kind, entry.name, entry.distribution)
